import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { packageFile } from '../package-file.ts';
import { pendingSecret, readSecret, renewSecret } from '../settings/secret-store.ts';
import { type Database, SettingsError, settings } from '../settings/settings.ts';
import { databaseToken } from './token.ts';

/** How many tokens the database may refuse in a row. */
const MAX_TOKENS = 2;

/**
 * The URL to log in with. It is for one connection: an IAM token expires after 15 minutes, and a password is rotated.
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
 * A login that the database has not refused yet. During rotation that is the secret's current version, which may be newer
 * than the cached one, or its pending version.
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
 * The TLS options of a connection to the database of `url`; false on this machine. The certificate is always verified.
 * RDS has its own CAs, one set for each region. The certificates of RDS Proxy come from a public CA.
 */
export function databaseTls(url: string): ConnectionOptions | false {
  const { hostname } = new URL(url);
  if (['localhost', '127.0.0.1', '[::1]', ''].includes(hostname)) return false;
  const ca = settings().databaseCa ?? rdsRoots(hostname);
  return { rejectUnauthorized: true, ...(ca ? { ca } : {}) };
}

/**
 * The root certificates of RDS for a host of RDS, in PEM; undefined: use the system's. Only the region's: with all roots a
 * connection takes 9 ms longer to verify instead of 1.
 */
function rdsRoots(hostname: string): string | undefined {
  const [, region] = /\.([a-z0-9-]+)\.rds\.amazonaws\.com$/.exec(hostname) ?? [];
  if (!region || hostname.includes('.proxy-')) return undefined;
  try {
    return readFileSync(packageFile(`certificates/rds/${region}.pem`), 'utf8');
  } catch (cause) {
    throw new SettingsError(`Berth has no certificates for RDS in ${region}: set DATABASE_CA.`, { cause });
  }
}

/** @param secret as RDS writes it: JSON with username and password, and optionally host, port and dbname */
function secretUrl(database: Extract<Database, { by: 'secret' }>, secret: string): string {
  try {
    const { username: user, password, host = database.host, port = database.port, dbname } = JSON.parse(secret);
    if (user && password && host) return urlOf({ user, password, host, port, name: dbname ?? database.name });
  } catch {
    // The parser's error is not reported, because it quotes the secret.
  }
  throw new SettingsError(
    'DATABASE_SECRET_ARN must name a secret that is JSON with username, password and, without DATABASE_HOST, host.',
  );
}

type Address = { user: string; password: string; host: string; port: string; name: string };

function urlOf({ user, password, host, port, name }: Address): string {
  const [login, secret, database] = [user, password, name].map(encodeURIComponent);
  const url = `postgres://${login}:${secret}@${host}:${port}/${database}`;
  if (!URL.canParse(url)) throw new SettingsError('DATABASE_HOST and DATABASE_PORT must be a host name and a port.');
  return url;
}
