import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { sha256Hex } from '../lib/crypto/hash.ts';
import { migrate } from '../lib/database/migrate.ts';
import { freePort } from '../local/ports.ts';
import { startPostgres } from '../local/postgres.ts';
import { type Instance, startInstance } from './instances.ts';
import { ADMIN_TOKEN, type BenchKey } from './requests.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A checkout of Berth, and a database that its own migrations have made. */
export type Checkout = {
  root: string;
  url: string;
  sql(text: string, values?: unknown[]): Promise<pg.QueryResult>;
  /** Starts processes that call this checkout's functions, each with a database connection of its own. */
  instances(count: number, name?: string, env?: Record<string, string>): Promise<Instance[]>;
  /** Issues provisioning keys that do not run out. */
  issueKeys(count: number): Promise<BenchKey[]>;
};

export type Server = {
  port: number;
  /** Process id of the postmaster, the parent of all other server processes. */
  pid(): number;
  /** Creates a database with a default broker. */
  checkout(root?: string): Promise<Checkout>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends the instances and the server, and removes the data. */
  stop(): Promise<void>;
};

/**
 * Starts a PostgreSQL as `npm start` does (fsync on), in a temporary directory.
 * @param settings additional server settings
 */
export async function startServer(settings: Record<string, string> = {}): Promise<Server> {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-bench-'));
  chmodSync(dir, 0o711);
  const options = { dataDir: path.join(dir, 'data'), port: await freePort(), maxConnections: 200, settings };
  let postgres = await startPostgres(options);
  const opened: { pool: pg.Pool; instances: Instance[] }[] = [];
  return {
    port: options.port,
    pid: () => postgres.pid,
    checkout: async (root = ROOT) => {
      const name = `checkout_${opened.length + 1}`;
      const url = postgres.url(name);
      // One connection: statistics and sizes are then those that this session has just written.
      const pool = new pg.Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
      pool.on('error', () => {});
      const own = { pool, instances: [] as Instance[] };
      await createDatabase(postgres.url('postgres'), name);
      await migrate(url, { dir: path.join(root, 'migrations') });
      opened.push(own);
      return openCheckout(root, url, own);
    },
    pause: () => postgres.stop(),
    resume: async () => {
      postgres = await startPostgres(options);
    },
    stop: async () => {
      await Promise.allSettled(opened.flatMap(({ instances }) => instances.map((one) => one.stop())));
      await Promise.allSettled(opened.map(({ pool }) => pool.end()));
      await postgres.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function createDatabase(adminUrl: string, name: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  await client.query(`create database ${name}`);
  await client.end();
}

async function openCheckout(
  root: string,
  url: string,
  own: { pool: pg.Pool; instances: Instance[] },
): Promise<Checkout> {
  const checkout: Checkout = {
    root,
    url,
    sql: (text, values) => own.pool.query(text, values),
    instances: async (count, name = 'register', env = {}) => {
      const started = Array.from({ length: count }, () => startInstance(root, name, { ...deployedEnv(url), ...env }));
      const instances = await Promise.all(started);
      own.instances.push(...instances);
      return instances;
    },
    issueKeys: (count) => issueKeys(checkout, count),
  };
  await checkout.sql(`insert into mqtt_broker_config (name, host, port, is_default) values ('one', 'one', 1883, true)`);
  return checkout;
}

/** The environment of a checkout's functions, with logs and metrics as on AWS. */
export function deployedEnv(databaseUrl: string): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    BERTH_PEPPER: 'pepper-of-the-bench-0123456789-0123456789',
    ADMIN_AUTH: 'token',
    ADMIN_TOKEN_HASH: sha256Hex(ADMIN_TOKEN),
    POWERTOOLS_LOG_LEVEL: 'INFO',
    POWERTOOLS_METRICS_DISABLED: 'false',
  };
}

async function issueKeys({ instances, sql }: Checkout, count: number): Promise<BenchKey[]> {
  const [issuer] = (await instances(1, 'provisioning-keys')) as [Instance];
  const issued = await issuer.ask('issueKeys', { count });
  await issuer.stop();
  const keys = new Map(issued.map(({ id, key }) => [id, key]));
  const { rows } = await sql(
    'update provisioning_keys set max_devices = 100000000 where id = any($1) returning id, key_hash',
    [[...keys.keys()]],
  );
  return rows.map(({ id, key_hash: hash }) => ({ id, key: keys.get(id) as string, hash }));
}
