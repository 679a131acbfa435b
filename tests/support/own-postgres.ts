import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { migrate } from '../../lib/database/migrate.ts';
import { freePort } from '../../local/ports.ts';
import { type Postgres, startPostgres } from '../../local/postgres.ts';

const DATABASE = 'postgres';

/** A server for one test, which can be stopped, killed and started again. Its port does not change. */
export type OwnPostgres = {
  port: number;
  url: string;
  // biome-ignore lint/suspicious/noExplicitAny: rows are checked member by member
  sql: (text: string, values?: unknown[]) => Promise<Record<string, any>[]>;
  /** Fast shutdown: open transactions are rolled back. */
  stop(): Promise<void>;
  /** Kills the server: what is not yet in the WAL is lost. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Adds a streaming standby. This server must be stopped; it is started again. */
  addStandby(): Promise<OwnPostgres>;
  /** Writes a file of the data directory (and sets its mode to 600). The server writes it, so that it owns it. */
  writeFile(name: string, text: string): Promise<void>;
  /** Stops the server and deletes its data. */
  remove(): Promise<void>;
};

/** Starts a migrated server on a free port, with its data in a temporary directory. */
export async function startOwnPostgres(settings: Record<string, string> = {}): Promise<OwnPostgres> {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-own-'));
  // If root runs the tests, another user runs the server and needs access.
  chmodSync(dir, 0o711);
  const own = await startIn(dir, settings);
  await migrate(own.url);
  // The connection of `migrate` ends a moment later; wait, so that a test can stop the server.
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
  // Tests kill processes, not the machine: data that the operating system has received survives.
  const options = { dataDir, port, settings: { fsync: 'off', ...settings } };
  let server: Postgres = await startPostgres(options);
  let pool = newPool(server);
  const end = async (how: () => Promise<unknown>) => {
    await how();
    if (!pool.ended) await pool.end();
  };
  const stop = () => end(() => server.stop());
  const sql: OwnPostgres['sql'] = async (text, values) => (await pool.query(text, values)).rows;
  return {
    port,
    url: server.url(DATABASE),
    sql,
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
    writeFile: async (name, text) => {
      const lines = pg.escapeLiteral(text.trim());
      await sql(`copy (select regexp_split_to_table(${lines}, '\\n')) to program 'umask 077; cat > ${name}'`);
    },
    remove: async () => {
      await stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function newPool(server: Postgres): pg.Pool {
  const pool = new pg.Pool({ connectionString: server.url(DATABASE), max: 2 });
  // A killed server breaks idle connections; the next query reports the error.
  pool.on('error', () => {});
  return pool;
}

/** Retries: the children of a killed server hold its shared memory for a moment, and a new one cannot start. */
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
