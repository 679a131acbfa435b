import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { migrate } from '../lib/database/migrate.ts';
import { freePort } from '../local/ports.ts';
import { startPostgres } from '../local/postgres.ts';
import type { BenchKey } from './requests.ts';

export type BenchDatabase = {
  url: string;
  port: number;
  /** The server's first process, parent of all others. */
  postmaster: number;
  client: pg.Client;
  /** Megabytes of WAL written since the server was made. */
  walMb(): Promise<number>;
  /** Rows of devices, and places used on provisioning keys. */
  count(): Promise<{ rows: number; used: number }>;
  /** Ends the server for now. `client` is another one afterwards. */
  shutDown(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
};

/**
 * A migrated database on a PostgreSQL of its own, set up as `npm start` does (fsync on), in a temporary directory.
 * @param settings server settings on top
 */
export async function benchDatabase(settings: Record<string, string> = {}): Promise<BenchDatabase> {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-bench-'));
  chmodSync(dir, 0o711);
  const options = { dataDir: path.join(dir, 'data'), port: await freePort(), maxConnections: 200, settings };
  let server = await startPostgres(options);
  const url = server.url('postgres');
  await migrate(url);
  const database: BenchDatabase = {
    url,
    port: server.port,
    postmaster: server.pid,
    client: await connected(url),
    walMb: async () => {
      const { rows } = await database.client.query(
        `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 / 1e6 as mb`,
      );
      return rows[0].mb;
    },
    count: async () => {
      const { rows } = await database.client.query(
        `select (select count(*)::int from devices) as rows,
                (select sum(devices_provisioned)::int from provisioning_keys) as used`,
      );
      return rows[0];
    },
    shutDown: async () => {
      await database.client.end();
      await server.stop();
    },
    start: async () => {
      server = await startPostgres(options);
      database.postmaster = server.pid;
      database.client = await connected(url);
    },
    stop: async () => {
      await database.shutDown();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return database;
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
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

/** As {@link handlerEnv}, with logs and metrics as on AWS. */
export function deployedEnv(databaseUrl: string): Record<string, string> {
  return { ...handlerEnv(databaseUrl), POWERTOOLS_LOG_LEVEL: 'INFO', POWERTOOLS_METRICS_DISABLED: 'false' };
}

/** Adds a default broker and provisioning keys without end. */
export async function addBrokerAndKeys(database: BenchDatabase, count: number): Promise<BenchKey[]> {
  await database.client.query(
    `insert into mqtt_broker_config (name, host, port, is_default) values ('one', 'one', 1883, true)`,
  );
  return addKeys(database, count);
}

/** Adds provisioning keys without end. */
export async function addKeys({ client, url }: BenchDatabase, count: number): Promise<BenchKey[]> {
  Object.assign(process.env, handlerEnv(url));
  // Another part may have had another database.
  (await import('../lib/settings/settings.ts')).reloadSettings();
  const { createProvisioningKey } = await import('../lib/provisioning-keys/create.ts');
  const { closeDatabase } = await import('../lib/database/db.ts');
  const keys = new Map<string, string>();
  for (let i = 0; i < count; i++) {
    const ctx = { requestId: 'bench', sourceIp: '', actor: 'schedule' as const, deadline: Date.now() + 10_000 };
    const options = { fleetId: `fleet-${i}`, maxDevices: 10_000, expiresInDays: 1 };
    const { id, key } = await createProvisioningKey(ctx, options as never);
    keys.set(id, key);
  }
  await closeDatabase();
  const { rows } = await client.query(
    'update provisioning_keys set max_devices = 100000000 where id = any($1) returning id, key_hash',
    [[...keys.keys()]],
  );
  return rows.map(({ id, key_hash: hash }) => ({ id, key: keys.get(id) as string, hash }));
}
