import { connect, type Socket } from 'node:net';
import postgres from 'postgres';
import type { Context } from '../context.ts';
import { withDeadline } from '../deadline.ts';
import { databaseUnavailable, type Problem, temporaryProblem } from '../errors.ts';
import { log } from '../log.ts';
import { count } from '../metrics.ts';
import { settings } from '../settings/settings.ts';
import { anotherLogin, databaseLogin, databaseTls } from './login.ts';

export type Sql = postgres.Sql;
/** A piece of a statement that several statements share. */
export type Fragment = postgres.PendingQuery<postgres.Row[]>;
type Statement<T extends object> = (sql: Sql) => postgres.PendingQuery<T[]>;

/** Retries after a lost connection, on top of the first attempt. */
const MAX_RETRIES = 3;
/** A connection unused for longer may be dead without knowing it (frozen Lambda, dropped NAT entry): ask first. */
const IDLE_MS = 30_000;
const PING_MS = 1_000;

const CONNECTION_LOST = new Set([
  ...['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECTION_CONNECT_TIMEOUT', 'CONNECT_TIMEOUT'],
  // admin shutdown, crash shutdown, cannot connect now, too many connections, read-only (a demoted primary)
  ...['57P01', '57P02', '57P03', '53300', '25006', '08000', '08003', '08006'],
]);
/** Deadlock, serialisation failure, lock timeout, statement timeout: rolled back, and the connection is fine. */
const ROLLED_BACK = new Set(['40P01', '40001', '55P03', '57014']);
/** Not this user, or not with this password. */
const LOGIN_REFUSED = new Set(['28000', '28P01']);

class DeadlineError extends Error {
  readonly code = 'DEADLINE';
}
class ClosedError extends Error {
  readonly code = 'CONNECTION_CLOSED';
}

/** A client, which has one connection in its life, the login of that, and those who wait for its answers. */
type Client = { sql: Sql; login: string; waiting: Set<(reason: Error) => void> };

let client: Client | undefined;
let lastUsed = 0;

/**
 * Runs one statement, which is one unit of work: there are no transactions here, on purpose
 * (`sql.begin` hangs when its connection dies: porsager/postgres#1208).
 *
 * A statement whose connection was lost is repeated, so every one must bear being run twice.
 *
 * @param statement builds the query; called again for each attempt
 * @throws Problem `database-unavailable` when it isn't reachable or not done by `ctx.deadline`;
 *   otherwise the PostgresError as it came
 */
export async function query<T extends object>(ctx: Context, statement: Statement<T>): Promise<T[]> {
  for (let attempt = 0; ; attempt++) {
    try {
      await wakeUp(ctx.deadline);
      return await answer(statement, ctx.deadline);
    } catch (error) {
      const code = codeOf(error);
      const lost = CONNECTION_LOST.has(code) || error instanceof DeadlineError;
      if (!lost && !ROLLED_BACK.has(code)) throw error;
      if (lost) discard();
      const pauseMs = Math.random() * 50 * 2 ** attempt;
      if (attempt === MAX_RETRIES || Date.now() + pauseMs >= ctx.deadline) throw unavailable(error);
      log.warn('database statement repeated', { code, attempt });
      count('DatabaseRetry');
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** Closes the connection and forgets it; the next query makes a new one. */
export async function closeDatabase(): Promise<void> {
  const old = client;
  client = undefined;
  await old?.sql.end({ timeout: 1 });
}

/** The answer to a statement; with another login when the database refuses the one there is: passwords change. */
async function answer<T extends object>(
  statement: Statement<T>,
  deadline: number,
  login?: string,
  refused: string[] = [],
): Promise<T[]> {
  const used = client ?? connection(login ?? (await databaseLogin(deadline)));
  try {
    const rows = await answerOf(used, statement, deadline);
    lastUsed = Date.now();
    return rows;
  } catch (error) {
    const code = codeOf(error);
    if (!LOGIN_REFUSED.has(code)) throw error;
    discard();
    const tried = [...refused, used.login];
    log.warn('database login refused', { code, tried: tried.length });
    count('DatabaseLoginRefused');
    const other = await anotherLogin(deadline, tried);
    if (!other) throw settings().database.by === 'url' ? error : unavailable(error);
    return answer(statement, deadline, other, tried);
  }
}

function connection(login: string): Client {
  if (client) return client;
  const { databasePrepare } = settings();
  const waiting: Client['waiting'] = new Set();
  const sql = postgres(login, {
    max: 1,
    fetch_types: false,
    prepare: databasePrepare,
    connect_timeout: 3,
    idle_timeout: 0,
    max_lifetime: 600,
    target_session_attrs: 'read-write',
    ssl: databaseTls(login),
    connection: { application_name: 'berth' },
    onnotice: () => {},
    onclose: () => {
      if (client?.sql === sql) client = undefined;
      // A statement that came between the socket's error and its close would get no answer ever.
      for (const reject of waiting) reject(new ClosedError('connection closed'));
    },
    // Not among its types.
    ...({ socket: openOnce() } as object),
  });
  client = { sql, login, waiting };
  lastUsed = Date.now();
  return client;
}

/**
 * What opens a client's socket, once: postgres.js connects again at once and without end, 700 times a
 * second, while a server hangs up before it has said anything. It gets an error, and {@link query} does it.
 */
function openOnce() {
  let isOpened = false;
  return async ({ host: [host], port: [port] }: { host: string[]; port: number[] }): Promise<Socket> => {
    if (isOpened) throw new ClosedError('connection closed');
    isOpened = true;
    // TLS takes the name to verify from there.
    return Object.assign(connect(port as number, host), { host });
  };
}

/** After a pause, finds out within a second whether the connection still lives. */
async function wakeUp(deadline: number): Promise<void> {
  if (!client || Date.now() - lastUsed < IDLE_MS) return;
  try {
    await answerOf(client, (sql) => sql`select 1`, Math.min(deadline, Date.now() + PING_MS));
  } catch {
    discard();
  }
}

function discard(): void {
  const old = client;
  client = undefined;
  // Not awaited: a black-holed socket would take its time, and nobody needs the outcome.
  old?.sql.end({ timeout: 0 }).catch(() => {});
}

/** Runs the statement on this client, and fails when its connection closes or the deadline passes first. */
async function answerOf<T extends object>({ sql, waiting }: Client, statement: Statement<T>, deadline: number) {
  const { promise: closed, reject } = Promise.withResolvers<never>();
  waiting.add(reject);
  try {
    const rows = Promise.race([statement(sql), closed]);
    return await withDeadline(rows, deadline - Date.now(), () => new DeadlineError('deadline passed'));
  } finally {
    waiting.delete(reject);
  }
}

function unavailable(cause: unknown): Problem {
  log.error('database unavailable', { code: codeOf(cause) });
  count('DatabaseUnavailable');
  return temporaryProblem(databaseUnavailable, cause);
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? '');
}
