import { randomBytes, randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, inject } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { type Answer, type Call, call } from './api.ts';
import type { ConcurrentCall } from './concurrent-calls.ts';
import { APP_ROLE, createDatabase, MQTT_AUTH_ROLE, urlAs } from './postgres.ts';

export const ADMIN_TOKEN = 'admin-token-of-the-tests';
export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
export const admin = bearer(ADMIN_TOKEN);
export const PEPPER = 'pepper-of-the-tests-0123456789-0123456789';

/** Calls a handler: `call` in this process, or an instance's `call`. */
export type Make = (target: string, options?: Call) => Promise<Answer>;

export type Berth = {
  /** For the superuser. The handlers log in as {@link APP_ROLE}. */
  databaseUrl: string;
  /** The test's own access to the database, besides the handlers' connection. */
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
  pool.on('error', () => {}); // a test may terminate idle connections
  const sql: Berth['sql'] = async (text, values) => (await pool.query(text, values)).rows;
  await prepare?.(sql);
  await migrate(database.url, { appUser: APP_ROLE, mqttAuthUser: MQTT_AUTH_ROLE });
  setEnv({ DATABASE_URL: urlAs(APP_ROLE, database.url), ...env });
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

/** Starts Berth with a default broker before the tests of this file, and stops it after them. */
export function useBerth(): Berth {
  const berth = {} as Berth;
  beforeAll(async () => {
    Object.assign(berth, await startBerth());
    await addBroker(berth, { is_default: true });
  });
  afterAll(() => berth.stop());
  return berth;
}

/** Replaces the handlers' environment; a variable that is not named gets the tests' default. */
export function setEnv(env: Record<string, string>): void {
  const previous = process.env.DATABASE_URL;
  for (const name of [
    'MQTT_BROKER_URL',
    'AUTO_ASSIGN_BROKER',
    'MQTT_PASSWORD_HASH',
    'LEGACY_HASHES',
    'DEVICE_KEY_MIN_LENGTH',
    'FORMER_BROKER_HOURS',
    'CLIENT_ADDRESS_HEADER',
    'ADMIN_AUTH',
    'ADMIN_TOKEN_HASH',
    'ADMIN_JWT_READ_SCOPE',
    'ADMIN_JWT_WRITE_SCOPE',
    'DATABASE_PREPARE',
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

/** Issues a provisioning key through the API. `make`: calls the handlers (default: in this process). */
export async function issueKey(
  fields: Record<string, unknown> = {},
  { make = call, token = ADMIN_TOKEN }: { make?: Make; token?: string } = {},
): Promise<{ id: string; key: string }> {
  const body = { fleetId: 'fleet-a', ...fields };
  const reply = await make('POST /api/v1/provisioning-keys', { headers: bearer(token), body });
  if (reply.status !== 201) throw new Error(`issuing a key: ${reply.status} ${reply.text}`);
  return reply.body;
}

/** A key in Berth's format that was never issued: its check needs the database, but no slow comparison. */
export const unknownKey = () => `prov_${randomUUID()}_${randomBytes(32).toString('base64url')}`;

export type Device = { uuid: string; deviceName: string; deviceType: string; deviceApiKey: string };

/** The registration body of a new device. */
export function newDevice(fields: Record<string, unknown> = {}): Device & Record<string, unknown> {
  return {
    uuid: randomUUID(),
    deviceName: 'Pump 7',
    deviceType: 'raspberry-pi',
    deviceApiKey: randomBytes(32).toString('hex'),
    ...fields,
  };
}

/** A call of `POST /device/register`, for `callConcurrently`. */
export function registration(key: string, body: unknown, options: Call = {}): ConcurrentCall {
  return { target: 'POST /api/v1/device/register', options: { headers: bearer(key), body, ...options } };
}

export function register(key: string, body: unknown, options: Call = {}, make: Make = call): Promise<Answer> {
  const { target, options: all } = registration(key, body, options);
  return make(target, all);
}

/** The SQL that ends the handlers' connections to this database. */
export const TERMINATE_CONNECTIONS = `select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and application_name = 'berth'`;

/**
 * Runs `test` while a trigger fires for each row.
 *
 * @param event as in CREATE TRIGGER: `before insert on devices`
 * @param body one PL/pgSQL statement, run before the row is returned
 */
export async function withTrigger<T>(berth: Berth, event: string, body: string, test: () => Promise<T>): Promise<T> {
  await berth.sql(`
    create or replace function run_test_trigger() returns trigger language plpgsql as $$ begin ${body}; return new; end $$;
    create trigger test_trigger ${event} for each row execute function run_test_trigger()`);
  try {
    return await test();
  } finally {
    await berth.sql('drop function run_test_trigger cascade');
  }
}

/** Inserts a broker row. @returns its id */
export async function addBroker(berth: Berth, columns: Record<string, unknown> = {}): Promise<number> {
  const row = { name: `broker-${randomBytes(4).toString('hex')}`, host: 'mqtt.example.com', port: 1883, ...columns };
  const names = Object.keys(row);
  const [inserted] = await berth.sql(
    `insert into mqtt_broker_config (${names.join(', ')}) values (${names.map((_, i) => `$${i + 1}`).join(', ')}) returning id`,
    Object.values(row),
  );
  return inserted?.id;
}

/** Counts the rows that registrations write; `used`: the places used of all provisioning keys. */
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
