import { UsageError, UserError } from './user-error.ts';

const EXAMPLE = 'postgres://user:password@host:5432/berth';
/** A login that is refused (28), no such database (3D), too many connections (53), shutting down or starting (57P). */
const REFUSED_LOGIN = /^(28|3D|53|57P)/;
/** Errors that `pg`, postgres.js and TLS raise while they connect. They have no SQLSTATE. */
const NO_CONNECTION = /CONNECT|CERT|SIGNATURE|timeout expired|does not support SSL|terminated unexpectedly/;
/** No such table, column or function. */
const MISSING = ['42P01', '42703', '42883'];

/**
 * The URL of DATABASE_URL, for a program that somebody runs.
 *
 * @param command what is typed after the variable, for the message
 * @throws UserError if it is not set, or cannot be the URL of a Postgres
 */
export function databaseUrl(command: string, url = process.env.DATABASE_URL): string {
  if (!url) throw new UsageError(`DATABASE_URL is not set: DATABASE_URL=${EXAMPLE} ${command}`);
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) return url;
  throw new UserError(`DATABASE_URL must look like ${EXAMPLE}; percent-encode special characters of the password.`);
}

/** Runs `use`. An error of the database becomes one sentence for the person who has set DATABASE_URL. */
export async function withDatabase<T>(url: string, use: (url: string) => Promise<T>): Promise<T> {
  try {
    return await use(url);
  } catch (error) {
    throw explained(error as Error, url);
  }
}

function explained(error: Error, url: string): Error {
  const { code = '', message, syscall } = causeOf(error);
  const isSqlState = /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('E');
  if (isSqlState ? REFUSED_LOGIN.test(code) : syscall || NO_CONNECTION.test(`${code} ${message}`))
    return new UserError(`Cannot connect to DATABASE_URL (${message}). Correct it, or start that database.`);
  if (code === '42501')
    return new UserError(`The role ${roleOf(url)} may not do this (${message}). Use the role that owns the tables.`);
  if (MISSING.includes(code))
    return new UserError(
      `Is DATABASE_URL Berth's database, and up to date (\`npm run migrate\`)? It says: ${message}.`,
    );
  return isSqlState ? new UserError(`The database of DATABASE_URL refused: ${message} (${code}).`) : error;
}

function causeOf(error: Error): { code?: string; message: string; syscall?: string } {
  // node-pg-migrate wraps an error of its first statement as text, with the stack.
  const [, denied] = /^Unable to ensure migrations table: error: (permission denied.*)$/m.exec(error.message) ?? [];
  if (denied) return { code: '42501', message: denied };
  // For a host name with several addresses, Node reports several errors under one without a message.
  return (error as AggregateError).errors?.[0] ?? error;
}

function roleOf(url: string): string {
  return decodeURIComponent(new URL(url).username) || 'of DATABASE_URL';
}
