import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { isBcrypt } from '../../lib/crypto/legacy-hash.ts';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { MigrationRefused, migrate } from '../../lib/database/migrate.ts';
import { EVENT_TYPES, OPERATOR_EVENT_TYPES } from '../../lib/events/record.ts';
import { migrationHashes } from '../../tools/release-bundle.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, bearer, issueKey, newDevice, register, startBerth } from '../support/berth.ts';
import {
  addLegacyRows,
  createLegacyTables,
  LEGACY_DEVICE,
  LEGACY_PROVISIONING_KEY,
  legacyColumns,
} from '../support/legacy.ts';
import { createDatabase } from '../support/postgres.ts';
import { describeSchema } from '../support/schema-dump.ts';

describe('on a fresh database', () => {
  let berth: Berth;
  beforeAll(async () => {
    berth = await startBerth();
  });
  afterAll(() => berth.stop());

  it('every column of the legacy service exists with its type; only devices.uuid and MQTT usernames and topics are wider', async () => {
    const rows = await berth.sql(`
      select c.relname as table, a.attname as name, format_type(a.atttypid, a.atttypmod) as type
      from pg_attribute a join pg_class c on c.oid = a.attrelid
      where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped`);
    const types = new Map(
      rows.map(({ table, name, type }) => [`${table}.${name}`, type.replace('character varying', 'varchar')]),
    );
    const wider = ['devices.mqtt_username', 'mqtt_users.username', 'mqtt_acls.username', 'mqtt_acls.topic'];
    for (const { table, name, type } of legacyColumns()) {
      const expected =
        `${table}.${name}` === 'devices.uuid' ? 'text' : wider.includes(`${table}.${name}`) ? 'varchar(300)' : type;
      expect(types.get(`${table}.${name}`), `${table}.${name}`).toBe(expected);
    }
  });

  it('the schema is migrations/schema.sql, and a second run of the migrations changes nothing', async () => {
    const before = await describeSchema(berth.sql);
    const file = new URL('../../migrations/schema.sql', import.meta.url);
    if (process.env.UPDATE_SCHEMA) writeFileSync(file, before);
    expect(before, 'run `npm run generate:schema`').toBe(readFileSync(file, 'utf8'));
    expect(await migrate(berth.databaseUrl)).toEqual([]);
    expect(await describeSchema(berth.sql)).toBe(before);
  });

  it('device_events accepts exactly the event types of lib/events/record.ts', async () => {
    const [check] = await berth.sql(`select prosrc as definition from pg_proc where proname = 'berth_is_event_type'`);
    const types = [...String(check?.definition).matchAll(/'([a-z-]+)'/g)].map(([, type]) => type);
    expect(types).toEqual([...EVENT_TYPES]);
    await expect(berth.sql(`insert into device_events (type) values ('guessed')`)).rejects.toThrow(
      'device_events_type_check',
    );
  });

  it('operator_events accepts exactly the types of lib/events/record.ts', async () => {
    const [check] = await berth.sql(
      `select pg_get_constraintdef(oid) as definition from pg_constraint where conname = 'operator_events_type_check'`,
    );
    const types = [...String(check?.definition).matchAll(/'([a-z-]+)'/g)].map(([, type]) => type);
    expect(types).toEqual([...OPERATOR_EVENT_TYPES]);
  });

  it('two concurrent runs: one applies all migrations, the other none', async () => {
    const { url, drop } = await createDatabase(inject('postgresUrl'));
    const applied = await Promise.all([migrate(url), migrate(url)]);
    const all = Object.keys(migrationHashes(fileURLToPath(new URL('../..', import.meta.url))));
    expect(applied.sort((a, b) => a.length - b.length)).toEqual([[], all]);
    await drop();
  });
});

/** Applies the migrations before the one with this number. */
async function migrateUpTo(number: string, sql: Berth['sql']): Promise<void> {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-migrations-'));
  cpSync(new URL('../../migrations', import.meta.url), dir, { recursive: true });
  for (const name of readdirSync(dir)) if (name >= number) rmSync(path.join(dir, name));
  const [database] = await sql('select current_database() as name');
  const url = new URL(inject('postgresUrl'));
  url.pathname = `/${database?.name}`;
  await migrate(url.href, { dir });
  rmSync(dir, { recursive: true });
}

it('0002: of several default brokers the active one remains, even if an inactive one was changed later', async () => {
  const berth = await startBerth({
    prepare: async (sql) => {
      await createLegacyTables(sql);
      await addLegacyRows(sql);
      await sql(`update mqtt_broker_config set is_active = false where name = 'second'`);
    },
  });
  expect(await berth.sql('select name from mqtt_broker_config where is_default')).toEqual([{ name: 'first' }]);
  await berth.stop();
});

it('0005: events of earlier jobs get the id of their device; other events get none', async () => {
  const berth = await startBerth({
    prepare: async (sql) => {
      await migrateUpTo('0005', sql);
      await sql(`insert into devices (id, uuid) values (41, 'a'), (42, 'b')`);
      await sql(`insert into device_events (type, device_uuid, job_id)
                 values ('moved', 'b', 7), ('moved', 'a', 7), ('moved', 'a', null), ('moved', 'gone', 7)`);
    },
  });
  expect(await berth.sql('select device_uuid, job_id, device_id from device_events order by id')).toMatchObject([
    { device_uuid: 'b', device_id: 42 },
    { device_uuid: 'a', device_id: 41 },
    { device_uuid: 'a', job_id: null, device_id: null },
    { device_uuid: 'gone', device_id: null },
  ]);
  await berth.stop();
});

describe('migration of a view mqtt_broker_users that was created by hand', () => {
  const reader = `view_reader_${process.pid}`;
  const byHand = (more = '') => `
    create view mqtt_broker_users as
    select u.username, u.password_hash, coalesce(u.is_superuser, false) as is_superuser, d.uuid::text as device_uuid,
           b.id as broker_id, b.client_id_prefix ${more}
    from mqtt_users u left join devices d on true left join mqtt_broker_config b on true`;

  it('replaces the view; roles that could read the old one can read the new one, and no secret column', async () => {
    const berth = await startBerth({
      prepare: async (sql) => {
        await migrateUpTo('0007', sql);
        await sql(byHand());
        await sql(`create role ${reader}`);
        await sql(`grant select on mqtt_broker_users to ${reader}`);
      },
    });
    const broker = await addBroker(berth, { is_default: true });
    const { key } = await issueKey();
    const { username } = (await register(key, newDevice())).body.mqtt;
    const client = new pg.Client({ connectionString: berth.databaseUrl, options: `-c role=${reader}` });
    await client.connect();
    const { rows } = await client.query('select username, broker_id, broker_source from mqtt_broker_users');
    expect(rows).toEqual([{ username, broker_id: broker, broker_source: 'default' }]);
    await client.end();
    const granted = await berth.sql(
      `select has_table_privilege($1, 'mqtt_broker_users', 'select') as view,
              has_column_privilege($1, 'provisioning_keys', 'default_broker_id', 'select') as key_broker,
              has_column_privilege($1, 'provisioning_keys', 'key_hash', 'select') as key_hash,
              has_column_privilege($1, 'mqtt_broker_config', 'refusal', 'select') as refusal,
              has_column_privilege($1, 'mqtt_broker_config', 'password_sealed', 'select') as password`,
      [reader],
    );
    expect(granted).toEqual([{ view: true, key_broker: true, key_hash: false, refusal: true, password: false }]);
    await berth.sql(`drop owned by ${reader}; drop role ${reader}`);
    await berth.stop();
  });

  it('fails with an instruction when the view has columns of its own', async () => {
    const prepare = async (sql: Berth['sql']) => {
      await migrateUpTo('0007', sql);
      await sql(byHand(', 1 as mine'));
    };
    await expect(startBerth({ prepare })).rejects.toThrow(
      'mqtt_broker_users was created by hand and cannot be replaced',
    );
  });
});

describe('breaking migrations of a later release', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-migrations-'));
  const breaking = '-- breaking: the previous release reads it\nalter table devices drop column logs_channel;\n';
  let berth: Berth;
  beforeAll(async () => {
    cpSync(new URL('../../migrations', import.meta.url), dir, { recursive: true });
    writeFileSync(path.join(dir, '0998_later.sql'), 'create table later (id integer);\n');
    writeFileSync(path.join(dir, '0999_latest.sql'), breaking);
    berth = await startBerth();
  });
  afterAll(async () => {
    await berth.stop();
    rmSync(dir, { recursive: true });
  });
  const later = async () => (await berth.sql(`select to_regclass('later') is not null as it_is`))[0]?.it_is;

  it('are refused with their reason, and no pending migration is applied', async () => {
    const refused = migrate(berth.databaseUrl, { dir });
    await expect(refused).rejects.toThrow(MigrationRefused);
    await expect(refused).rejects.toThrow(
      '0999_latest is breaking (the previous release reads it): nothing was applied',
    );
    expect(await later()).toBe(false);
  });

  it('a failure rolls back the pending migrations before it', async () => {
    writeFileSync(path.join(dir, '0999_latest.sql'), 'alter table devices drop column no_such_column;\n');
    await expect(migrate(berth.databaseUrl, { dir })).rejects.toThrow('no_such_column');
    expect(await later()).toBe(false);
    writeFileSync(path.join(dir, '0999_latest.sql'), breaking);
  });

  it('are applied with allowBreaking; later runs do not need it', async () => {
    const lines: string[] = [];
    const log = (line: string) => lines.push(line);
    expect(await migrate(berth.databaseUrl, { dir, allowBreaking: true, log })).toEqual(['0998_later', '0999_latest']);
    expect(lines).toEqual(['applied 0998_later', 'applied 0999_latest']);
    expect(await migrate(berth.databaseUrl, { dir })).toEqual([]);
  });

  it('are applied to an empty database without allowBreaking', async () => {
    const empty = await createDatabase(inject('postgresUrl'));
    expect(await migrate(empty.url, { dir })).toContain('0999_latest');
    await empty.drop();
  });
});

describe('npm run migrate', () => {
  const run = (env: Record<string, string>, ...args: string[]) => {
    const script = fileURLToPath(new URL('../../tools/migrate.ts', import.meta.url));
    return spawnSync(process.execPath, [script, ...args], { env: { ...process.env, ...env }, encoding: 'utf8' });
  };

  it('exit status 0: prints the applied migrations, then that nothing is left', async () => {
    const { url, drop } = await createDatabase(inject('postgresUrl'));
    expect(run({ DATABASE_URL: url })).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^applied 0001_legacy-tables\n.*\d applied\.\n$/s),
    });
    const again = run({ DATABASE_URL: url }, '--allow-breaking');
    expect(again).toMatchObject({ status: 0, stdout: 'Nothing to apply: the database is up to date.\n' });
    await drop();
  });

  it('exit status 2: DATABASE_URL is not set', () => {
    expect(run({ DATABASE_URL: '' })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('DATABASE_URL is not set'),
    });
  });
});

describe('on a database of the legacy service', () => {
  let berth: Berth;
  let before: Record<string, unknown[]>;
  const TABLES = ['devices', 'provisioning_keys', 'mqtt_users', 'mqtt_acls', 'mqtt_broker_config'];
  /** The times by triggers of the legacy service: for what devices were handed, and for the default that is given up. */
  const CHANGED = ['mqtt_broker_config.is_default', 'mqtt_broker_config.updated_at', 'devices.modified_at'];
  const rowsOf = async (sql: Berth['sql'], table: string) =>
    (await sql(`select row_to_json(t) as row from ${table} t order by id`)).map(({ row }) => row);

  beforeAll(async () => {
    berth = await startBerth({
      prepare: async (sql) => {
        await createLegacyTables(sql);
        await addLegacyRows(sql);
        before = Object.fromEntries(await Promise.all(TABLES.map(async (table) => [table, await rowsOf(sql, table)])));
      },
    });
    // As docs/adoption.md orders.
    await berth.sql('alter table devices disable trigger trigger_create_mqtt_user_for_device');
  });
  afterAll(() => berth.stop());

  it('every row and value is kept, except that only one default broker remains, and the legacy triggers set times', async () => {
    for (const table of TABLES) {
      const after = await rowsOf(berth.sql, table);
      expect(after).toHaveLength(before[table]?.length ?? -1);
      const kept = (row: object) => Object.entries(row).filter(([column]) => !CHANGED.includes(`${table}.${column}`));
      expect(after).toMatchObject((before[table] as object[]).map((row) => Object.fromEntries(kept(row))));
    }
    expect(await berth.sql('select name, is_default from mqtt_broker_config order by id')).toEqual([
      { name: 'first', is_default: false },
      { name: 'second', is_default: true },
    ]);
  });

  it('200 for a legacy device: /mqtt without a password, and key exchange; its MQTT password still works', async () => {
    const headers = bearer(LEGACY_DEVICE.deviceApiKey);
    const mqtt = await call(`GET /api/v1/device/${LEGACY_DEVICE.uuid}/mqtt`, { headers });
    expect(mqtt).toMatchObject({
      status: 200,
      body: {
        username: `device_${LEGACY_DEVICE.uuid.toUpperCase()}`,
        broker: 'mqtt://second.example.com:1883',
        topics: { publish: [`iot/device/${LEGACY_DEVICE.uuid.toUpperCase()}/#`] },
      },
    });
    expect(mqtt.body).not.toHaveProperty('password');
    const [stored] = await berth.sql('select device_api_key_hash from devices');
    expect(isBcrypt(stored?.device_api_key_hash), 'upgraded on first use').toBe(false);
    const body = { deviceApiKey: LEGACY_DEVICE.deviceApiKey };
    expect(await call(`POST /api/v1/device/${LEGACY_DEVICE.uuid}/key-exchange`, { headers, body })).toMatchObject({
      status: 200,
    });
    const [user] = await berth.sql('select password_hash from mqtt_users');
    expect(await verifyMqttPassword('old-mqtt-password', user?.password_hash)).toBe(true);
  });

  it('200 for a legacy provisioning key: its hash is upgraded on first use, and quota is charged once', async () => {
    const device = newDevice();
    const first = await register(LEGACY_PROVISIONING_KEY, device);
    expect(first).toMatchObject({ status: 200, body: { fleetId: 'old-fleet', uuid: device.uuid } });
    const [row] = await berth.sql('select key_hash, devices_provisioned from provisioning_keys');
    expect(row).toMatchObject({ devices_provisioned: 2, key_hash: expect.stringMatching(/^1\$/) });
    expect((await register(LEGACY_PROVISIONING_KEY, device)).text).toBe(first.text);
    expect(await berth.sql('select key_hash, devices_provisioned from provisioning_keys')).toEqual([row]);
  });

  it('200 replay: a legacy device registers again and gets a new password that works', async () => {
    const reply = await register(LEGACY_PROVISIONING_KEY, LEGACY_DEVICE);
    expect(reply).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } });
    expect(reply.body.mqtt.username).toBe(`device_${LEGACY_DEVICE.uuid}`);
    const users = await berth.sql(`select username, password_hash from mqtt_users where lower(username) = $1`, [
      `device_${LEGACY_DEVICE.uuid}`,
    ]);
    expect(users).toHaveLength(1);
    expect(await verifyMqttPassword(reply.body.mqtt.password, users[0]?.password_hash)).toBe(true);
    expect(
      await berth.sql(`select topic from mqtt_acls where lower(username) = $1`, [`device_${LEGACY_DEVICE.uuid}`]),
    ).toEqual([{ topic: `iot/device/${LEGACY_DEVICE.uuid}/#` }]);
    expect((await register(LEGACY_PROVISIONING_KEY, LEGACY_DEVICE)).text).toBe(reply.text);
  });

  it('the legacy trigger on the default broker does not disturb a change of it, by either service', async () => {
    const defaults = async () =>
      (await berth.sql('select name from mqtt_broker_config where is_default')).map(({ name }) => name);
    const [first] = await berth.sql(`select id from mqtt_broker_config where name = 'first'`);
    const change = { headers: admin, body: { is_default: true } };
    expect(await call(`PUT /api/v1/mqtt/brokers/${first?.id}`, change)).toMatchObject({ status: 200 });
    expect(await defaults()).toEqual(['first']);
    // As the legacy service does, which leaves the old default to the trigger.
    await berth.sql(`update mqtt_broker_config set is_default = true where name = 'second'`);
    expect(await defaults()).toEqual(['second']);
  });

  it('an identifier that the column of type uuid cannot store: 400 at registration without a charge, 404 at /mqtt', async () => {
    const { key, id } = await issueKey();
    for (const uuid of ['test-123', LEGACY_DEVICE.uuid.replaceAll('-', '')]) {
      const reply = await register(key, newDevice({ uuid }));
      expect(reply).toMatchObject({ status: 400, body: { code: 'invalid-request', errors: [{ path: 'uuid' }] } });
      expect(await call(`GET /api/v1/device/${uuid}/mqtt`, { headers: bearer('x') })).toMatchObject({ status: 404 });
    }
    const [row] = await berth.sql('select devices_provisioned from provisioning_keys where id = $1', [id]);
    expect(row?.devices_provisioned).toBe(0);
  });

  it('10 concurrent first registrations of a legacy device: 10 × 200 with the same credentials', async () => {
    await berth.sql('update devices set mqtt_password_salt = null where uuid = $1', [LEGACY_DEVICE.uuid]);
    const replies = await Promise.all(
      Array.from({ length: 10 }, () => register(LEGACY_PROVISIONING_KEY, LEGACY_DEVICE)),
    );
    expect(replies.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
  });
});
