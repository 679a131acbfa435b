import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { log } from '../log.ts';
import { settings } from '../settings/settings.ts';
import { anotherLogin, databaseLogin, databaseTls } from './login.ts';
import { migrate } from './migrate.ts';

/** A database that sleeps while nobody uses it takes half a minute to wake up. */
const ATTEMPTS = 5;
const PAUSE_MS = 8_000;

/**
 * Applies the migrations, and sees to the functions' role (DATABASE_APP_USER), as the owner of the tables that the
 * settings name.
 *
 * @returns the names of the migrations applied now
 * @throws Error in one sentence, without the password
 */
export async function migrateOnDeploy(allowBreaking: boolean, deadline: number): Promise<string[]> {
  const refused: string[] = [];
  let login = await databaseLogin(deadline);
  for (let attempt = 1; ; attempt++) {
    try {
      return await migrateAs(login, allowBreaking, deadline);
    } catch (error) {
      const { code } = error as { code?: string };
      log.warn('migrations not applied', { attempt, code });
      if (code === '28P01' || code === '28000') {
        refused.push(login);
        const other = await anotherLogin(deadline, refused);
        if (!other) throw failure(error, login);
        login = other;
      } else if (!isUnreachable(error) || attempt === ATTEMPTS || Date.now() + PAUSE_MS > deadline) {
        throw failure(error, login);
      } else {
        await sleep(PAUSE_MS);
      }
    }
  }
}

function migrateAs(login: string, allowBreaking: boolean, deadline: number): Promise<string[]> {
  return migrate(login, {
    allowBreaking,
    appUser: settings().databaseAppUser,
    ssl: databaseTls(login),
    timeoutMs: Math.max(1, deadline - Date.now()),
    log: (line) => log.info('migration', { line }),
  });
}

/** Anything that happens to a connection; what Postgres itself says is final, but for its own start and end. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return ['57P01', '57P02', '57P03'].includes(error.code ?? '');
  return (error as { code?: unknown }).code !== undefined;
}

/** What goes to CloudFormation, whoever reads it there: the first sentence, without what we log in with. */
function failure(error: unknown, login: string): Error {
  // Node reports a name with several addresses as several failures, without a message of its own.
  const { message, errors } = error as Error & { errors?: Error[] };
  const [line = ''] = (message || errors?.[0]?.message || 'no reason given').split('\n');
  const { password } = new URL(login);
  const secrets = [login, password, decodeURIComponent(password)].filter(Boolean);
  return new Error(
    secrets.reduce((text, secret) => text.replaceAll(secret, '…'), line),
    { cause: error },
  );
}
