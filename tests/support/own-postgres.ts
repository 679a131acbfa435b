import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { migrate } from '../../lib/database/migrate.ts';
import { freePort } from '../../local/ports.ts';
import { type Postgres, startPostgres } from '../../local/postgres.ts';

const DATABASE = 'postgres';

/** A server of the test's own, which may be stopped, killed and started again. Its port stays. */
export type OwnPostgres = {
  port: number;
  url: string;
  // biome-ignore lint/suspicious/noExplicitAny: rows are checked member by member
  sql: (text: string, values?: unknown[]) => Promise<Record<string, any>[]>;
  /** Ends the server politely: open transactions roll back. */
  stop(): Promise<void>;
  /** Ends the server as a crash does: whatever is not yet written to its log is lost. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** A second server that follows this one's log. This one must have been stopped; it is started. */
  addStandby(): Promise<OwnPostgres>;
  /** Ends the server and removes its data. */
  remove(): Promise<void>;
};

/** A migrated server on a free port, its data in a temporary directory. */
export async function startOwnPostgres(settings: Record<string, string> = {}): Promise<OwnPostgres> {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-own-'));
  // When root runs the tests another user runs the server, and must be able to enter.
  chmodSync(dir, 0o711);
  const own = await startIn(dir, settings);
  await migrate(own.url);
  // Its connection ends a moment later, and would break if the server ended first.
  for (
    const others = `select from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`;
    ;
  ) {
    if ((await own.sql(others)).length === 0) return own;
    await sleep(10);
  }
}

async function startIn(dir: string, settings: Record<string, string>): Promise<OwnPostgres> {
  const port = await freePort();
  const dataDir = path.join(dir, 'data');
  // The processes are killed, not the machine: what the operating system has been given is kept.
  const options = { dataDir, port, settings: { fsync: 'off', ...settings } };
  let server: Postgres = await startPostgres(options);
  let pool = newPool(server);
  const end = async (how: () => Promise<unknown>) => {
    await how();
    if (!pool.ended) await pool.end();
  };
  const stop = () => end(() => server.stop());
  return {
    port,
    url: server.url(DATABASE),
    sql: async (text, values) => (await pool.query(text, values)).rows,
    stop,
    kill: () =>
      end(() => {
        process.kill(server.pid, 'SIGKILL');
        return server.exited;
      }),
    start: async () => {
      server = await startAgain(options);
      pool = newPool(server);
    },
    addStandby: async () => {
      const copy = path.join(dir, 'standby', 'data');
      cpSync(server.dataDir, copy, { recursive: true });
      cpSync(`${server.dataDir}.password`, `${copy}.password`);
      chmodSync(copy, 0o700);
      writeFileSync(path.join(copy, 'standby.signal'), '');
      server = await startAgain(options);
      pool = newPool(server);
      const { username, password } = new URL(server.url(DATABASE));
      const primary = `host=127.0.0.1 port=${port} user=${username} password=${password} application_name=standby`;
      return startIn(path.join(dir, 'standby'), { ...settings, primary_conninfo: primary });
    },
    remove: async () => {
      await stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function newPool(server: Postgres): pg.Pool {
  const pool = new pg.Pool({ connectionString: server.url(DATABASE), max: 2 });
  // A server that is killed breaks idle connections; whoever asks next is told.
  pool.on('error', () => {});
  return pool;
}

/** The killed server's children hold its shared memory for a moment; a new one refuses to start until then. */
async function startAgain(options: Parameters<typeof startPostgres>[0]): Promise<Postgres> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startPostgres(options);
    } catch (error) {
      if (attempt === 20) throw error;
      await sleep(100);
    }
  }
}
