import { connect, type Socket } from 'node:net';
import postgres from 'postgres';
import type { Context } from '../context.ts';
import { databaseUnavailable, type Problem, temporaryProblem } from '../errors.ts';
import { log } from '../log.ts';
import { count } from '../metrics.ts';
import { settings } from '../settings/settings.ts';
import { anotherLogin, databaseLogin, databaseTls } from './login.ts';

export type Sql = postgres.Sql;
/** A part of a statement that several statements share. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>;
/** Builds a statement; called again for each attempt, with the error of the attempt before. */
export type Statement<T extends object> = (sql: Sql, failure?: unknown) => postgres.PendingQuery<T[]>;

/** Retries after a lost connection, in addition to the first attempt. */
const MAX_RETRIES = 3;
/** A connection that was idle for longer may be dead unnoticed (frozen Lambda, dropped NAT entry): ping it first. */
const IDLE_MS = 30_000;
const PING_MS = 1_000;

const CONNECTION_LOST = new Set([
  ...['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECTION_CONNECT_TIMEOUT', 'CONNECT_TIMEOUT'],
  // admin shutdown, crash shutdown, cannot connect now, too many connections, read-only (a demoted primary)
  ...['57P01', '57P02', '57P03', '53300', '25006', '08000', '08003', '08006'],
]);
/** Deadlock, serialisation failure, lock timeout, statement timeout: rolled back, and the connection still works. */
const ROLLED_BACK = new Set(['40P01', '40001', '55P03', '57014']);
/** Unknown user, or wrong password. */
const LOGIN_REFUSED = new Set(['28000', '28P01']);

/** Arrays of strings: `${strings}::text[]`. With `fetch_types: false`, postgres.js has no serializer for them. */
const TEXT_ARRAY = {
  to: 1009,
  from: [],
  serialize: (texts: string[]) => `{${texts.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`).join(',')}}`,
  parse: (literal: string) => literal,
};

class DeadlineError extends Error {
  readonly code = 'DEADLINE';
}
class ClosedError extends Error {
  readonly code = 'CONNECTION_CLOSED';
}

/** A client with one connection, the URL that it logged in with, and a `reject` for each statement that is running. */
type Client = { sql: Sql; login: string; running: Set<(reason: Error) => void> };

let client: Client | undefined;
let lastUsed = 0;

/**
 * Runs one statement, which is one unit of work. Transactions are not possible, because `sql.begin` hangs when its
 * connection dies (porsager/postgres#1208).
 *
 * A statement whose connection was lost is repeated. Therefore every statement must be safe to run twice.
 *
 * @throws Problem `database-unavailable` when the database is unreachable or not done by `ctx.deadline`;
 *   every other PostgresError unchanged
 */
export async function query<T extends object>(ctx: Context, statement: Statement<T>): Promise<T[]> {
  let failure: unknown;
  for (let attempt = 0; ; attempt++) {
    try {
      await pingAfterIdleTime(ctx.deadline);
      return await runWithLogin(ctx, (sql) => statement(sql, failure));
    } catch (error) {
      failure = error;
      const code = codeOf(error);
      const isLost = CONNECTION_LOST.has(code) || error instanceof DeadlineError;
      if (!isLost && !ROLLED_BACK.has(code)) throw error;
      if (isLost) discardClient();
      const pauseMs = Math.random() * 50 * 2 ** attempt;
      if (attempt === MAX_RETRIES || Date.now() + pauseMs >= ctx.deadline) throw unavailable(ctx, error);
      log.warn('database statement repeated', { requestId: ctx.requestId, code, attempt });
      count('DatabaseRetry');
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/**
 * The statement, planned for its values each time. A prepared one has the same plan for all values after some executions: the wrong
 * one where few rows fit some values and most of the table fits others.
 */
export function plannedForItsValues<T extends object>(
  statement: postgres.PendingQuery<T[]>,
): postgres.PendingQuery<T[]> {
  // Missing in the types of postgres.js.
  Object.assign((statement as unknown as { options: object }).options, { prepare: false });
  return statement;
}

/** Closes the connection. The next query opens a new one. */
export async function closeDatabase(): Promise<void> {
  const old = client;
  client = undefined;
  await old?.sql.end({ timeout: 1 });
}

/** Runs the statement. When the database refuses the login, because its password has changed, it uses another login. */
async function runWithLogin<T extends object>(ctx: Context, statement: Statement<T>): Promise<T[]> {
  const { requestId, deadline } = ctx;
  const refused: string[] = [];
  let login: string | undefined;
  for (;;) {
    const used = client ?? openClient(login ?? (await databaseLogin(deadline)));
    try {
      const rows = await run(used, statement, deadline);
      lastUsed = Date.now();
      return rows;
    } catch (error) {
      const code = codeOf(error);
      if (!LOGIN_REFUSED.has(code)) throw error;
      discardClient();
      refused.push(used.login);
      log.warn('database login refused', { requestId, code, tried: refused.length });
      count('DatabaseLoginRefused');
      login = await anotherLogin(deadline, refused);
      if (!login) throw settings().database.by === 'url' ? error : unavailable(ctx, error);
    }
  }
}

/** The current client. Another request may have opened it while this one waited for its login. */
function openClient(login: string): Client {
  if (client) return client;
  const running: Client['running'] = new Set();
  const sql = postgres(login, {
    max: 1,
    fetch_types: false,
    prepare: settings().databasePrepare,
    connect_timeout: 3,
    idle_timeout: 0,
    max_lifetime: 600,
    target_session_attrs: 'read-write',
    ssl: databaseTls(login),
    connection: { application_name: 'berth' },
    types: { textArray: TEXT_ARRAY },
    onnotice: () => {},
    onclose: () => {
      if (client?.sql === sql) client = undefined;
      // postgres.js never settles a statement that was sent between the socket's error and its close.
      for (const reject of running) reject(new ClosedError('connection closed'));
    },
    // Missing in the types of postgres.js.
    ...({ socket: openOnce() } as object),
  });
  client = { sql, login, running };
  lastUsed = Date.now();
  return client;
}

/**
 * Opens a client's socket once. postgres.js itself would reconnect 700 times per second without end while a server hangs
 * up before it has sent anything. With this it gets an error, and {@link query} retries.
 */
function openOnce() {
  let isOpened = false;
  return async ({ host: [host], port: [port] }: { host: string[]; port: number[] }): Promise<Socket> => {
    if (isOpened) throw new ClosedError('connection closed');
    isOpened = true;
    // postgres.js verifies the certificate for the socket's `host`.
    return Object.assign(connect(port as number, host), { host });
  };
}

/** After idle time, finds out within a second whether the connection still works. */
async function pingAfterIdleTime(deadline: number): Promise<void> {
  if (!client || Date.now() - lastUsed < IDLE_MS) return;
  try {
    await run(client, (sql) => sql`select 1`, Math.min(deadline, Date.now() + PING_MS));
  } catch {
    discardClient();
  }
}

function discardClient(): void {
  const old = client;
  client = undefined;
  // Not awaited: a socket whose packets are dropped would take long, and the outcome does not matter.
  old?.sql.end({ timeout: 0 }).catch(() => {});
}

/** Fails when the connection closes or the deadline passes before the statement is done. */
async function run<T extends object>({ sql, running }: Client, statement: Statement<T>, deadline: number) {
  const { promise, resolve, reject } = Promise.withResolvers<T[]>();
  const timer = setTimeout(() => reject(new DeadlineError('deadline passed')), Math.max(0, deadline - Date.now()));
  running.add(reject);
  statement(sql).then(resolve, reject);
  try {
    return await promise;
  } finally {
    running.delete(reject);
    clearTimeout(timer);
  }
}

function unavailable({ requestId }: Context, cause: unknown): Problem {
  log.error('database unavailable', { requestId, code: codeOf(cause) });
  count('DatabaseUnavailable');
  return temporaryProblem(databaseUnavailable, cause);
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? '');
}
