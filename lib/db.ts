import postgres from 'postgres';
import { config } from './config.ts';
import type { Context } from './context.ts';
import { databaseUnavailable, Problem } from './errors.ts';
import { log } from './log.ts';
import { count } from './metrics.ts';

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

class DeadlineError extends Error {
  readonly code = 'DEADLINE';
}

let client: Sql | undefined;
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
      const rows = await before(ctx.deadline, statement(connection()));
      lastUsed = Date.now();
      return rows;
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
  await old?.end({ timeout: 1 });
}

function connection(): Sql {
  if (client) return client;
  const { databaseUrl, databaseCa, databasePrepare } = config();
  client = postgres(databaseUrl, {
    max: 1,
    fetch_types: false,
    prepare: databasePrepare,
    connect_timeout: 3,
    idle_timeout: 0,
    max_lifetime: 600,
    target_session_attrs: 'read-write',
    ssl: isLocal(databaseUrl) ? false : { rejectUnauthorized: true, ...(databaseCa ? { ca: databaseCa } : {}) },
    connection: { application_name: 'berth' },
    onnotice: () => {},
  });
  lastUsed = Date.now();
  return client;
}

/** After a pause, finds out within a second whether the connection still lives. */
async function wakeUp(deadline: number): Promise<void> {
  if (!client || Date.now() - lastUsed < IDLE_MS) return;
  try {
    await before(Math.min(deadline, Date.now() + PING_MS), client`select 1`);
  } catch {
    discard();
  }
}

function discard(): void {
  const old = client;
  client = undefined;
  // Not awaited: a black-holed socket would take its time, and nobody needs the outcome.
  old?.end({ timeout: 0 }).catch(() => {});
}

async function before<T>(deadline: number, running: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError('deadline passed')), Math.max(0, deadline - Date.now()));
  });
  try {
    return await Promise.race([running, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(cause: unknown): Problem {
  log.error('database unavailable', { code: codeOf(cause) });
  count('DatabaseUnavailable');
  // 1–5 s, so that a fleet turned away together doesn't come back together.
  return new Problem(databaseUnavailable, undefined, {
    retryAfterSeconds: 1 + Math.floor(Math.random() * 5),
    cause,
  });
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? '');
}

function isLocal(databaseUrl: string): boolean {
  const { hostname } = new URL(databaseUrl);
  return ['localhost', '127.0.0.1', '[::1]', ''].includes(hostname);
}
