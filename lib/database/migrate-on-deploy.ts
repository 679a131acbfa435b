import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { log } from '../log.ts';
import { settings } from '../settings/settings.ts';
import { anotherLogin, databaseLogin, databaseTls } from './login.ts';
import { migrate } from './migrate.ts';

/** A database that is paused takes half a minute to resume. */
const ATTEMPTS = 5;
const PAUSE_MS = 8_000;

/**
 * Applies the migrations and grants the rights of the functions' roles (DATABASE_APP_USER, DATABASE_MQTT_AUTH_USER). The
 * settings' login must own the tables.
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
    mqttAuthUser: settings().databaseMqttAuthUser,
    ssl: databaseTls(login),
    timeoutMs: Math.max(1, deadline - Date.now()),
    log: (line) => log.info('migration', { line }),
  });
}

/** Any failure of the connection. An error of Postgres itself is final, except that it is starting or stopping. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return ['57P01', '57P02', '57P03'].includes(error.code ?? '');
  return (error as { code?: unknown }).code !== undefined;
}

/** The error for CloudFormation, which many people can read: its first line, without the login. */
function failure(error: unknown, login: string): Error {
  // For a name with several addresses, Node reports several errors in one that has no message.
  const { message, errors } = error as Error & { errors?: Error[] };
  const [line = ''] = (message || errors?.[0]?.message || 'no reason given').split('\n');
  const { password } = new URL(login);
  const secrets = [login, password, decodeURIComponent(password)].filter(Boolean);
  return new Error(
    secrets.reduce((text, secret) => text.replaceAll(secret, '…'), line),
    { cause: error },
  );
}
