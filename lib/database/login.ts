import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { packageFile } from '../package-file.ts';
import { pendingSecret, readSecret, renewSecret } from '../settings/secret-store.ts';
import { type Database, SettingsError, settings } from '../settings/settings.ts';
import { databaseToken } from './token.ts';

/** How many tokens in a row the database may refuse. */
const MAX_TOKENS = 2;

/**
 * Where the database is and who we are to it, for one connection: a token of IAM logs in for 15 minutes, a
 * password until it is rotated.
 *
 * @returns postgres://user:password@host:port/database
 * @throws Problem `settings-unavailable`; SettingsError
 */
export async function databaseLogin(deadline: number): Promise<string> {
  const { database } = settings();
  if (database.by === 'url') return database.url;
  if (database.by === 'iam') return urlOf({ ...database, password: databaseToken(database) });
  return secretUrl(database, await readSecret(database.secretArn, deadline));
}

/**
 * Another login than those the database has just refused. While a password is rotated, that is a newer one than
 * we had, or the one that Secrets Manager doesn't call current yet.
 *
 * @returns undefined when there is none
 * @throws as {@link databaseLogin}
 */
export async function anotherLogin(deadline: number, refused: string[]): Promise<string | undefined> {
  const { database } = settings();
  if (database.by === 'url') return undefined;
  if (database.by === 'iam') return refused.length < MAX_TOKENS ? databaseLogin(deadline) : undefined;
  const current = secretUrl(database, await renewSecret(database.secretArn, deadline));
  if (!refused.includes(current)) return current;
  const next = await pendingSecret(database.secretArn, deadline);
  const pending = next && secretUrl(database, next);
  return pending && !refused.includes(pending) ? pending : undefined;
}

/**
 * How a connection to the database of `url` is encrypted, its certificate verified: not at all on this machine.
 * RDS signs with CAs of its own, one for each region; RDS Proxy has certificates of a public one.
 */
export function databaseTls(url: string): ConnectionOptions | false {
  const { hostname } = new URL(url);
  if (['localhost', '127.0.0.1', '[::1]', ''].includes(hostname)) return false;
  const ca = settings().databaseCa ?? rdsRoots(hostname);
  return { rejectUnauthorized: true, ...(ca ? { ca } : {}) };
}

/** The roots that a host of RDS has its certificate from, in PEM; undefined: the system's. */
function rdsRoots(hostname: string): string | undefined {
  const [, region] = /\.([a-z0-9-]+)\.rds\.amazonaws\.com$/.exec(hostname) ?? [];
  if (!region || hostname.includes('.proxy-')) return undefined;
  try {
    return readFileSync(packageFile(`certificates/rds/${region}.pem`), 'utf8');
  } catch (cause) {
    throw new SettingsError(`There are no certificates for RDS in ${region}: set DATABASE_CA.`, { cause });
  }
}

/** @param secret as RDS writes it: JSON with username and password; host, port and dbname may be in it */
function secretUrl(database: Extract<Database, { by: 'secret' }>, secret: string): string {
  try {
    const { username: user, password, host = database.host, port = database.port, dbname } = JSON.parse(secret);
    if (user && password && host) return urlOf({ user, password, host, port, name: dbname ?? database.name });
  } catch {
    // What it says quotes the secret.
  }
  throw new SettingsError(
    'DATABASE_SECRET_ARN must name JSON with username, password and, without DATABASE_HOST, host.',
  );
}

type Address = { user: string; password: string; host: string; port: string; name: string };

function urlOf({ user, password, host, port, name }: Address): string {
  const [login, secret, database] = [user, password, name].map(encodeURIComponent);
  const url = `postgres://${login}:${secret}@${host}:${port}/${database}`;
  if (!URL.canParse(url)) throw new SettingsError('DATABASE_HOST and DATABASE_PORT name no host and port.');
  return url;
}
