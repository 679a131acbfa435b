import { randomBytes, randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { type Answer, call } from './api.ts';
import { createDatabase } from './postgres.ts';

export const ADMIN_TOKEN = 'admin-token-of-the-tests';
export const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
export const PEPPER = 'pepper-of-the-tests-0123456789-0123456789';

export type Berth = {
  databaseUrl: string;
  /** For looking and for arranging, beside the handlers' own connection. */
  // biome-ignore lint/suspicious/noExplicitAny: rows are checked member by member
  sql: (text: string, values?: unknown[]) => Promise<Record<string, any>[]>;
  stop: () => Promise<void>;
};

/** Points the handlers of this process at a new, migrated database. `prepare` runs before the migrations. */
export async function startBerth({
  env = {},
  prepare,
}: {
  env?: Record<string, string>;
  prepare?: (sql: Berth['sql']) => Promise<unknown>;
} = {}): Promise<Berth> {
  const database = await createDatabase(inject('postgresUrl'));
  const pool = new pg.Pool({ connectionString: database.url, max: 4 });
  pool.on('error', () => {}); // an idle connection that a test has ended
  const sql: Berth['sql'] = async (text, values) => (await pool.query(text, values)).rows;
  await prepare?.(sql);
  await migrate(database.url);
  setEnv({ DATABASE_URL: database.url, ...env });
  return {
    databaseUrl: database.url,
    sql,
    stop: async () => {
      await closeDatabase();
      await pool.end();
      await database.drop();
    },
  };
}

/** Sets the handlers' environment anew; what isn't named goes back to the tests' default. */
export function setEnv(env: Record<string, string>): void {
  const previous = process.env.DATABASE_URL;
  for (const name of [
    'MQTT_BROKER_URL',
    'AUTO_ASSIGN_BROKER',
    'MQTT_PASSWORD_HASH',
    'LEGACY_HASHES',
    'ADMIN_AUTH',
    'ADMIN_TOKEN_HASH',
    'BERTH_SEAL_KEY',
    'BERTH_STAGE',
    'BROKER_AUTH_SECRET_HASH',
  ]) {
    delete process.env[name];
  }
  Object.assign(process.env, {
    DATABASE_URL: previous,
    BERTH_PEPPER: PEPPER,
    ADMIN_AUTH: 'token',
    ADMIN_TOKEN_HASH: sha256Hex(ADMIN_TOKEN),
    ...env,
  });
  reloadSettings();
}

/** Issues a provisioning key through the API. */
export async function issueKey(options: Record<string, unknown> = {}): Promise<{ id: string; key: string }> {
  const { status, body } = await call('POST /api/v1/provisioning-keys', {
    headers: admin,
    body: { fleetId: 'fleet-a', ...options },
  });
  if (status !== 201) throw new Error(`issuing a key: ${status} ${JSON.stringify(body)}`);
  return body;
}

export type Device = { uuid: string; deviceName: string; deviceType: string; deviceApiKey: string };

/** A device that nobody knows yet. */
export function newDevice(fields: Record<string, unknown> = {}): Device & Record<string, unknown> {
  return {
    uuid: randomUUID(),
    deviceName: 'Pump 7',
    deviceType: 'raspberry-pi',
    deviceApiKey: randomBytes(32).toString('hex'),
    ...fields,
  };
}

export function register(key: string, body: unknown, options: Record<string, unknown> = {}): Promise<Answer> {
  return call('POST /api/v1/device/register', { headers: { authorization: `Bearer ${key}` }, body, ...options });
}

/** Adds a broker's row and answers its id. */
export async function addBroker(berth: Berth, columns: Record<string, unknown> = {}): Promise<number> {
  const row = { name: `broker-${randomBytes(4).toString('hex')}`, host: 'mqtt.example.com', port: 1883, ...columns };
  const names = Object.keys(row);
  const [inserted] = await berth.sql(
    `insert into mqtt_broker_config (${names.join(', ')}) values (${names.map((_, i) => `$${i + 1}`).join(', ')}) returning id`,
    Object.values(row),
  );
  return inserted?.id;
}

/** Row counts of what a registration writes. */
export async function counts(
  berth: Berth,
): Promise<{ devices: number; users: number; acls: number; events: number; used: number }> {
  const [row] = await berth.sql(`
    select (select count(*)::int from devices) as devices, (select count(*)::int from mqtt_users) as users,
           (select count(*)::int from mqtt_acls) as acls,
           (select count(*)::int from device_events where type = 'registered') as events,
           (select coalesce(sum(devices_provisioned), 0)::int from provisioning_keys) as used`);
  return row as never;
}
