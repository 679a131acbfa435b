import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { migrate } from '../lib/migrate.ts';
import { freePort } from '../local/ports.ts';
import { startPostgres } from '../local/postgres.ts';

export type BenchDatabase = {
  url: string;
  client: pg.Client;
  /** Megabytes of WAL written since the server was made. */
  walMb(): Promise<number>;
  stop(): Promise<void>;
};

/** A migrated database on a PostgreSQL of its own, set up as `npm start` does (fsync on), in a temporary directory. */
export async function benchDatabase(): Promise<BenchDatabase> {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-bench-'));
  chmodSync(dir, 0o711);
  const server = await startPostgres({ dataDir: path.join(dir, 'data'), port: await freePort(), maxConnections: 200 });
  const url = server.url('postgres');
  await migrate(url);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return {
    url,
    client,
    walMb: async () => {
      const { rows } = await client.query(`select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 / 1e6 as mb`);
      return rows[0].mb;
    },
    stop: async () => {
      await client.end();
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** What a handler's process needs in its environment to work on that database. */
export function handlerEnv(databaseUrl: string): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    BERTH_PEPPER: 'pepper-of-the-bench-0123456789-0123456789',
    POWERTOOLS_LOG_LEVEL: 'SILENT',
    POWERTOOLS_METRICS_DISABLED: 'true',
  };
}
