import { setTimeout as sleep } from 'node:timers/promises';
import { compare } from 'bcryptjs';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { loadAll } from '../support/api.ts';
import { type Berth, issueKey, newDevice, setEnv } from '../support/berth.ts';
import { expectLike, startShell, stepsOf } from '../support/document.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { createLegacyTables } from '../support/legacy.ts';
import { addLegacyFleet, type LegacyDevice, type LegacyFleet } from '../support/legacy-fleet.ts';
import { type LegacyService, startLegacyService } from '../support/legacy-service.ts';
import { createDatabase } from '../support/postgres.ts';
import { cloneProject } from '../support/stack.ts';

/**
 * Runs the commands of docs/adoption.md step by step on a database with the legacy service's columns. After each step all
 * devices use both services. `npm run adopt-trial` does this with 10,000 devices.
 */
const DEVICES = Number(process.env.ADOPT_DEVICES ?? 400);
/** Devices that register again with Berth and receive another MQTT password. */
const AGAIN = 20;
/** New devices per fleet and service. */
const NEW = 2;
const LONG_MS = 600_000;

const SWAP = `update mqtt_users u set password_hash = o.password_hash from mqtt_users o where (u.id, o.id) in ((1, 2), (2, 1))`;
const take = (table: string, where: string) =>
  `create table taken as select * from ${table} where ${where}; delete from ${table} where ${where}`;
const putBack = (table: string) => `insert into ${table} select * from taken; drop table taken`;

const steps = stepsOf('adoption.md');
const ran = new Set<string>();
const clone = cloneProject();
const keep = { LEGACY_HASHES: 'keep', MQTT_PASSWORD_HASH: 'bcrypt' };

let database: { url: string; drop(): Promise<void> };
let pool: pg.Pool;
let sql: Berth['sql'];
let fleet: LegacyFleet;
let legacy: LegacyService;
let gateway: Gateway;
let berth: string;
/** Devices whose MQTT password the test does not know: of the document, and of a provisioning key of Berth. */
const others: Known[] = [{ uuid: '7d3f0a52-4b1c-4c3e-9a8e-2f1d6b7c8d90', deviceApiKey: 'adopted-key' }];
let shell: ReturnType<typeof startShell>;

beforeAll(async () => {
  database = await createDatabase(inject('postgresUrl'));
  pool = new pg.Pool({ connectionString: database.url, max: 4 });
  pool.on('error', () => {});
  sql = async (text, values) => (await pool.query(text, values)).rows;
  await createLegacyTables(sql);
  fleet = await addLegacyFleet(sql, DEVICES);
  legacy = await startLegacyService(database.url);
  setEnv({ DATABASE_URL: database.url, ...keep });
  await loadAll();
  gateway = await startGateway();
  berth = `${gateway.url}/api/v1`;
  const [, device] = fleet.devices as [LegacyDevice, LegacyDevice];
  shell = startShell(clone.dir, {
    DATABASE_URL: database.url,
    LEGACY: legacy.url,
    BERTH: berth,
    OLD_KEY: fleet.provisioningKeys.get('north') as string,
    DEVICE: device.uuid,
    DEVICE_KEY: device.deviceApiKey,
  });
}, LONG_MS);
afterAll(async () => {
  shell?.stop();
  await gateway?.close();
  await legacy?.stop();
  await closeDatabase();
  await pool?.end();
  await database?.drop();
  clone.remove();
});

it('step 1: the commands of “Look” work', () => runSteps('1. Look'));

it('step 1: names a table that differs from the legacy service’s', async () => {
  await sql('alter table devices rename column mqtt_username to name_elsewhere');
  await sql('alter table mqtt_users drop constraint mqtt_users_username_key');
  expect(await shell.run('npm run -s adoption -- look; echo $?')).toMatch(/^Missing: devices\.mqtt_username\.\n1\n/);
  await sql('alter table devices rename column name_elsewhere to mqtt_username');
  await sql(
    'insert into mqtt_users (username, password_hash) select username, password_hash from mqtt_users where id = 7',
  );
  expectLike(
    await shell.run('npm run -s adoption -- look; echo $?'),
    'Prevents the migration:…1 values of mqtt_users.username…such as device_…\n1',
  );
  await sql('delete from mqtt_users where id = (select max(id) from mqtt_users)');
  await sql('alter table mqtt_users add constraint mqtt_users_username_key unique (username)');
});

it('step 1: reports what Berth treats differently', async () => {
  await sql(`
    create table taken as select * from devices where id <= 2;
    update mqtt_broker_config set is_active = false where name = 'old-2';
    update mqtt_broker_config set is_default = false where name = 'old-1';
    update provisioning_keys set max_devices = null where is_active and expires_at > now() and fleet_id = 'east';
    update devices set mqtt_broker_id = 999 where id = 1;
    update devices set is_active = false where id = 2`);
  const output = await shell.run(`PGOPTIONS='-c TimeZone=Europe/Berlin' npm run -s adoption -- look; echo $?`);
  for (const line of [
    'the default broker “old-2” is not active',
    '1 provisioning keys have no max_devices',
    'the time zone is Europe/Berlin',
    '1 inactive devices have an active MQTT user',
    '1 devices are assigned to a broker that does not exist',
  ]) {
    expect(output).toContain(`- ${line}`);
  }
  expect(output, 'nothing prevents the migration').toMatch(/\n0\n$/);
  await sql(`
    update devices d set mqtt_broker_id = t.mqtt_broker_id, is_active = t.is_active from taken t where d.id = t.id;
    drop table taken;
    update provisioning_keys set max_devices = devices_provisioned + 1000 where max_devices is null;
    update mqtt_broker_config set is_default = true where name = 'old-1';
    update mqtt_broker_config set is_active = true where name = 'old-2'`);
});

it('step 2: the commands of “Take the fingerprint” work', () => runSteps('2. Take the fingerprint'));

it.each([
  [
    'a changed value',
    'update devices set memory_usage = memory_usage + 1 where id = 7',
    'update devices set memory_usage = memory_usage - 1 where id = 7',
    'devices:…changed: memory_usage',
  ],
  [
    'a lost value',
    'update devices set os_version = null where id = 9',
    `update devices set os_version = 'Linux 6' where id = 9`,
    'devices:…changed: os_version',
  ],
  ['swapped values of two rows', SWAP, SWAP, 'mqtt_users:…changed: password_hash'],
  ['a lost row', take('mqtt_acls', 'id = 3'), putBack('mqtt_acls'), 'mqtt_acls: 1 of…rows are gone'],
  [
    'lost keys',
    take('provisioning_keys', 'not is_active'),
    putBack('provisioning_keys'),
    'provisioning_keys: 4 of 12 rows are gone',
  ],
])('step 2: the fingerprint shows %s', async (_, change, undo, expected) => {
  await sql(change);
  expectLike(await shell.run('npm run -s adoption -- compare before.json; echo $?'), `${expected}…\n1`);
  await sql(undo);
  expect(await shell.run('npm run -s adoption -- compare before.json; echo $?')).toMatch(/\n0\n$/);
});

it('step 3: a migration that does not get its locks gives up and changes nothing', async () => {
  const holder = await pool.connect();
  await holder.query('begin');
  await holder.query('select from devices limit 1');
  const output = await shell.run('npm run -s migrate 2>&1; echo $?');
  await holder.query('commit');
  holder.release();
  expect(output).toMatch(/lock timeout/);
  expect(output).toMatch(/\n[^0]\n?$/);
  expect(await shell.run('npm run -s adoption -- compare before.json; echo $?')).toMatch(/\n0\n$/);
  // The list of applied migrations exists and is empty.
  expect(await sql('select name from berth_migrations')).toEqual([]);
  expect(await sql(`select to_regclass('device_events') as made`)).toEqual([{ made: null }]);
});

it('step 3: the commands of “Migrate” work', () => runSteps('3. Migrate'), LONG_MS);

it(
  'step 3: the legacy service still works: every device exchanges its key, new ones register',
  async () => {
    await exchangeAll(legacy.url, fleet.devices);
    await registerNew(legacy.url);
  },
  LONG_MS,
);

it(
  'step 4: with keep, devices exchange keys with Berth and get their broker, and no legacy value changes',
  async () => {
    await exchangeAll(berth, fleet.devices);
    await inTurns(fleet.devices.slice(0, 200), async ({ uuid, deviceApiKey, username, brokerId }) => {
      const { body } = await ask(`${berth}/device/${uuid}/mqtt`, deviceApiKey);
      const broker = brokerId === 1 ? 'mqtt://mqtt-1.example.com:1883' : 'mqtts://mqtt-2.example.com:8883';
      expect(body).toMatchObject({ username, broker });
      expect(body, 'Berth does not know its password').not.toHaveProperty('password');
    });
    const output = await shell.run('npm run -s adoption -- compare before.json');
    expect(output).toMatch(/^devices: \d+ rows, 40 columns, all as before$/m);
    expect(output).toMatch(/^mqtt_users: .* all as before$/m);
    expect(output).toMatch(/^mqtt_acls: .* all as before$/m);
    // Changed by the registrations with the legacy service.
    expect(output).toMatch(/^provisioning_keys: 12 rows, changed: devices_provisioned, last_used_at$/m);
  },
  LONG_MS,
);

it('step 4: the commands of “Run side by side” work', () => runSteps('4. Run side by side'));

it('step 4: legacy devices register again, new ones with legacy keys; repeated requests get the same reply', async () => {
  await inTurns(fleet.devices.slice(0, AGAIN), async (device) => {
    const reply = await registerWith(berth, device);
    expect(reply).toMatchObject({ status: 200, body: { fleetId: device.fleet } });
    expect(reply.body.mqtt.password).not.toBe(device.mqttPassword);
    device.username = reply.body.mqtt.username;
    device.mqttPassword = reply.body.mqtt.password;
    expect((await registerWith(berth, device)).text).toBe(reply.text);
  });
  await registerNew(berth);
  expect(await forms('devices', 'device_api_key_hash')).toEqual(['$2']);
  expect(await forms('provisioning_keys', 'key_hash')).toEqual(['$2']);
});

it('step 6: the commands of “Back out” work', () => runSteps('6. Back out'));

it(
  'step 6: the legacy service accepts every device, including those of Berth, and its own keys',
  async () => {
    await exchangeAll(legacy.url, fleet.devices);
    await registerNew(legacy.url);
  },
  LONG_MS,
);

it(
  'step 6: every device logs in at a broker that reads mqtt_users and knows only bcrypt',
  async () => {
    await inTurns(fleet.devices, async ({ username, mqttPassword }) => {
      expect(await compare(mqttPassword, await passwordHash(username)), username).toBe(true);
    });
  },
  LONG_MS,
);

it('step 6: the legacy service does not know Berth’s provisioning keys, but accepts their devices', async () => {
  const { key } = await issueKey({ fleetId: 'north' });
  const device = newDevice();
  expect((await ask(`${legacy.url}/device/register`, key, device)).status).toBe(401);
  expect((await ask(`${berth}/device/register`, key, device)).status).toBe(200);
  expect((await exchange(legacy.url, device)).status).toBe(200);
  const long = newDevice({ deviceApiKey: 'k'.repeat(73) });
  expect((await ask(`${berth}/device/register`, key, long)).status).toBe(200);
  expect((await exchange(berth, long)).status).toBe(200);
  expect((await exchange(legacy.url, long)).status, 'too long for bcrypt').toBe(401);
  others.push(device, long);
});

it('step 7: the commands of “Settle” work', async () => {
  setEnv({ MQTT_PASSWORD_HASH: 'bcrypt' });
  await runSteps('7. Settle');
});

it(
  'step 7: every device works with Berth and has Berth’s hash: no way back',
  async () => {
    await exchangeAll(berth, [...fleet.devices, ...others]);
    await registerNew(berth);
    expect(await forms('devices', 'device_api_key_hash')).toEqual(['1$']);
    expect(
      await sql(
        `select count(*)::int as n from provisioning_keys where key_hash like '$2%' and is_active and expires_at > now()`,
      ),
    ).toEqual([{ n: 0 }]);
    await exchangeAll(berth, fleet.devices);
    const [first] = fleet.devices as [LegacyDevice];
    expect((await exchange(legacy.url, first)).status).toBe(401);
    expect((await registerWith(legacy.url, newDevice({ fleet: 'north' }) as never)).status).toBe(401);
  },
  LONG_MS,
);

it(
  'loses nothing: rows, values that nothing had to change, MQTT logins, counts',
  async () => {
    const output = await shell.run('npm run -s adoption -- compare before.json');
    expect(output).toMatch(/^provisioning_keys: 12 rows, changed: key_hash, devices_provisioned, last_used_at$/m);
    expect(output).toMatch(/^mqtt_broker_config: 3 rows, changed: is_default$/m);
    expect(output).toMatch(/^devices: \d+ rows, changed: modified_at, device_api_key_hash, mqtt_username$/m);
    const users = await sql('select count(*)::int as n from mqtt_users');
    const devices = await sql('select count(*)::int as n from devices');
    expect(users).toEqual(devices);
    await inTurns(fleet.devices, async ({ username, mqttPassword }) => {
      expect(await verifyMqttPassword(mqttPassword, await passwordHash(username)), username).toBe(true);
    });
    expect(
      await sql(`
      select k.id from provisioning_keys k left join devices d on d.provisioned_by_key_id = k.id
      where k.is_active and k.expires_at > now()
      group by k.id having count(d.id) <> k.devices_provisioned`),
    ).toEqual([]);
  },
  LONG_MS,
);

it('runs every command of the document', () => {
  expect([...ran].sort()).toEqual([...new Set(steps.map(({ title }) => title))].sort());
});

/** Runs the document's commands under a heading. */
async function runSteps(heading: string): Promise<void> {
  const own = steps.filter(({ title }) => title === `## ${heading}`);
  expect(own.length, heading).toBeGreaterThan(0);
  for (const { title, commands, expected } of own) {
    const output = await shell.run(commands);
    if (expected !== undefined) expectLike(output, expected);
    ran.add(title);
  }
}

type Known = { uuid: string; deviceApiKey: string };

async function ask(url: string, credential: string, body?: object) {
  const reply = await fetch(url, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await reply.text();
  return { status: reply.status, text, body: JSON.parse(text) };
}

function exchange(service: string, { uuid, deviceApiKey }: Known) {
  return ask(`${service}/device/${uuid}/key-exchange`, deviceApiKey, { deviceApiKey });
}

function exchangeAll(service: string, devices: Known[]): Promise<void> {
  return inTurns(devices, async (device) => {
    const { status, text } = await exchange(service, device);
    expect(status, `${device.uuid}: ${text}`).toBe(200);
  });
}

/** Repeats the request as a device does: an unfinished comparison with legacy keys continues then. */
async function registerWith(service: string, { uuid, deviceApiKey, fleet: name }: Known & { fleet: string }) {
  const body = { uuid, deviceApiKey, deviceName: 'Pump', deviceType: 'raspberry-pi' };
  for (let attempt = 1; ; attempt++) {
    const reply = await ask(`${service}/device/register`, fleet.provisioningKeys.get(name) as string, body);
    if (reply.body?.code !== 'key-check-unfinished' || attempt === 10) return reply;
    await sleep(1_000);
  }
}

/** Registers new devices with each fleet's legacy key, and adds them to all devices. */
async function registerNew(service: string): Promise<void> {
  for (const name of fleet.provisioningKeys.keys()) {
    for (let i = 0; i < NEW; i++) {
      const device = { ...newDevice(), fleet: name };
      const { status, text, body } = await registerWith(service, device);
      expect(status, text).toBe(200);
      const { username, password: mqttPassword } = body.mqtt;
      fleet.devices.push({ ...device, username, mqttPassword, brokerId: null });
    }
  }
}

/** Runs eight at a time. */
async function inTurns<T>(all: T[], run: (one: T) => Promise<void>): Promise<void> {
  const rest = all.values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const one of rest) await run(one);
    }),
  );
}

/** The distinct first two characters of a column's hashes; only of keys in use. */
async function forms(table: 'devices' | 'provisioning_keys', column: string): Promise<string[]> {
  const inUse = table === 'devices' ? 'true' : 'is_active and expires_at > now()';
  const rows = await sql(`select distinct left(${column}, 2) as form from ${table} where ${inUse} order by 1`);
  return rows.map(({ form }) => form);
}

async function passwordHash(username: string): Promise<string> {
  const [row] = await sql('select password_hash from mqtt_users where username = $1 and is_active', [username]);
  return row?.password_hash ?? '';
}
