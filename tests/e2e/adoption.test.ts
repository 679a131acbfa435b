import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { compare } from 'bcryptjs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { call, loadAll } from '../support/api.ts';
import { admin, type Berth, bearer, issueKey, newDevice, setEnv } from '../support/berth.ts';
import { expectLike, startShell, stepsOf } from '../support/document.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { createLegacyTables, quietly, SPELLINGS } from '../support/legacy.ts';
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
const BROKERS_SECRET = 'secret-of-the-brokers';
const keep = {
  LEGACY_HASHES: 'keep',
  MQTT_PASSWORD_HASH: 'bcrypt',
  BROKER_AUTH_SECRET_HASH: sha256Hex(BROKERS_SECRET),
};

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
  // docs/adoption.md, step 3. Until that schema exists, it changes nothing.
  legacy = await startLegacyService(database.url, '-c search_path=berth_legacy,public');
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
    ${quietly('mqtt_broker_config', `update mqtt_broker_config set is_active = name <> 'old-2', is_default = name = 'old-2'`)};
    update provisioning_keys set max_devices = null where is_active and expires_at > now() and fleet_id = 'east';
    update devices set mqtt_broker_id = 999 where id = 1;
    update devices set is_active = false where id = 2;
    create function of_others() returns trigger language plpgsql as $$ begin return new; end $$;
    create trigger a_trigger before update on mqtt_acls for each row execute function of_others()`);
  const output = await shell.run(`PGOPTIONS='-c TimeZone=Europe/Berlin' npm run -s adoption -- look; echo $?`);
  for (const line of [
    'the default broker “old-2” is not active',
    '1 provisioning keys have no max_devices',
    'the time zone is Europe/Berlin',
    '1 inactive devices have an active MQTT user',
    '1 devices are assigned to a broker that does not exist',
    'a_trigger on mqtt_acls: is not known. Before the migration, read what of_others() does',
  ]) {
    expect(output).toContain(`- ${line}`);
  }
  expect(output, 'nothing prevents the migration').toMatch(/\n0\n$/);
  await sql(`
    update devices d set mqtt_broker_id = t.mqtt_broker_id, is_active = t.is_active from taken t where d.id = t.id;
    drop table taken;
    drop function of_others cascade;
    update provisioning_keys set max_devices = devices_provisioned + 1000 where max_devices is null;
    ${quietly('mqtt_broker_config', `update mqtt_broker_config set is_active = name <> 'old-3', is_default = name <> 'old-3'`)}`);
});

it('step 1: lists what the legacy service left behind; its statements remove exactly that', async () => {
  const output = await shell.run('npm run -s adoption -- look');
  expect(output).toContain(`- ${fleet.burned.length} devices have had no key for more than a day`);
  expect(output).toContain(`- ${fleet.ofDeleted.length} MQTT users belong to devices that were deleted`);
  const [burned, ofDeleted] = [fleet.burned, fleet.ofDeleted].map((names) => [...names].sort());
  expect(output).toContain(`409. ${listed(burned)}.\n`);
  expect(output).toContain(`accepts them. ${listed(ofDeleted)}.\n`);
  for (const [, statement] of output.matchAll(/^ {2}Remove them.*?: (.*;)$/gm)) await sql(statement as string);
  expect(await sql('select count(*)::int as n from devices')).toEqual([{ n: DEVICES }]);
  expect(await sql('select count(*)::int as n from mqtt_users')).toEqual([{ n: DEVICES }]);
  expect(await sql('select count(*)::int as n from mqtt_acls')).toEqual([{ n: DEVICES }]);
  expect(await shell.run('npm run -s adoption -- look')).not.toContain('Left behind');
});

it('step 2: the commands of “Take the fingerprint” work', () => runSteps('2. Take the fingerprint'));

it.each([
  [
    'a changed value',
    quietly('devices', 'update devices set memory_usage = memory_usage + 1 where id = 7'),
    quietly('devices', 'update devices set memory_usage = memory_usage - 1 where id = 7'),
    'devices:…changed: memory_usage',
  ],
  [
    'a lost value',
    quietly('devices', 'update devices set os_version = null where id = 9'),
    quietly('devices', `update devices set os_version = 'Linux 6' where id = 9`),
    'devices:…changed: os_version',
  ],
  [
    'swapped values of two rows',
    quietly('mqtt_users', SWAP),
    quietly('mqtt_users', SWAP),
    'mqtt_users:…changed: password_hash',
  ],
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

it(
  'step 3: the commands and statements of “Migrate” work',
  async () => {
    const [createSchema, createView, disableTrigger] = statementsOf('3. Migrate');
    await sql(`${createSchema} ${createView}`);
    await runSteps('3. Migrate');
    expect(await shell.run('npm run -s adoption -- look')).toContain(`: ${disableTrigger}`);
    await sql(disableTrigger as string);
  },
  LONG_MS,
);

it('step 3: the legacy service shows no column of Berth', async () => {
  const { body } = await ask(`${legacy.url}/devices/${fleet.devices[0]?.uuid}`, 'nobody');
  expect(Object.keys(body.device)).toHaveLength(40);
  expect(body.device).not.toHaveProperty('mqtt_password_salt');
  const [row] = await sql('select * from devices limit 1');
  expect(row, 'without the view, it would').toHaveProperty('mqtt_password_salt');
});

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
    expect(output).toMatch(/^devices: \d+ rows, changed: modified_at$/m);
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

describe.each(Object.keys(SPELLINGS))(
  'step 4: a legacy device that sends its uuid in the spelling “%s”',
  (spelling) => {
    const device = newDevice();
    let login: Login;
    beforeAll(async () => {
      const sent = { ...device, uuid: SPELLINGS[spelling]?.(device.uuid) as string, fleet: 'north' };
      login = (await registerWith(legacy.url, sent)).body.mqtt;
    });
    const operator = (method: string, path = '', body?: object) =>
      call(`${method} /api/v1/devices/${device.uuid}${path}`, { headers: admin, ...(body ? { body } : {}) });

    it('gets its own username from /mqtt, and logs in at its broker only', async () => {
      expect((await ask(`${berth}/device/${device.uuid}/mqtt`, device.deviceApiKey)).body.username).toBe(
        login.username,
      );
      expect(await accepts(2, login)).toBe(true);
      expect(await accepts(1, login)).toBe(false);
    });

    it('cannot log in while it is deactivated', async () => {
      await operator('PUT', '', { is_active: false });
      expect(await accepts(2, login)).toBe(false);
      await operator('PUT', '', { is_active: true });
      expect(await accepts(2, login)).toBe(true);
    });

    it('cannot log in with the old password after rotate-credentials or after registering again, but with the new one', async () => {
      await operator('POST', '/rotate-credentials');
      expect(await accepts(2, login)).toBe(false);
      const { body } = await registerWith(berth, { ...device, fleet: 'north' });
      expect(await accepts(2, login)).toBe(false);
      expect(await accepts(2, body.mqtt)).toBe(true);
      login = body.mqtt;
    });

    it('gets a new MQTT password after the legacy service has replaced its key', async () => {
      const { body } = await ask(`${legacy.url}/device/${device.uuid}/rotate-key`, device.deviceApiKey, {});
      const { body: mqtt } = await ask(`${berth}/device/${device.uuid}/mqtt`, body.data.new_api_key);
      expect(mqtt.password).not.toBe(login.password);
      expect(await accepts(2, mqtt)).toBe(true);
      login = mqtt;
    });

    it('leaves no MQTT user and no ACL when it is deleted', async () => {
      expect((await operator('DELETE')).status).toBe(200);
      expect(await accepts(2, login)).toBe(false);
      for (const table of ['mqtt_users', 'mqtt_acls']) {
        const hex = device.uuid.replaceAll('-', '');
        expect(
          await sql(`select username from ${table} where lower(translate(username, '{}-', '')) = $1`, [
            `device_${hex}`,
          ]),
        ).toEqual([]);
      }
    });
  },
);

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

it('step 7: the commands of “Settle” work, and the statements that end the triggers', async () => {
  setEnv({ MQTT_PASSWORD_HASH: 'bcrypt' });
  await runSteps('7. Settle');
  const output = await shell.run('npm run -s adoption -- look');
  for (const [, statements] of output.matchAll(/At the end: (.*;)$/gm)) await sql(statements as string);
  await sql(statementsOf('7. Settle').join(' '));
  const names = await sql('select tgname as name from pg_trigger where not tgisinternal');
  expect(names.map(({ name }) => name).filter((name) => !name.startsWith('berth_'))).toEqual([]);
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
    expect(output).toMatch(/^mqtt_broker_config: 3 rows, changed: is_default, updated_at$/m);
    expect(output).toMatch(
      /^devices: \d+ rows, changed: device_name, modified_at, device_api_key_hash, mqtt_username$/m,
    );
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

/** The statements under a heading of the document, one a line. */
function statementsOf(heading: string): string[] {
  const document = readFileSync(new URL('../../docs/adoption.md', import.meta.url), 'utf8');
  const section = document.split(/^## /m).find((text) => text.startsWith(heading)) ?? '';
  const statements = [...section.matchAll(/^ {4}(.*;)$/gm)].map((match) => match[1] as string);
  return statements.filter((statement) => !statement.startsWith('create index'));
}

/** As `look` prints them. */
function listed(names: string[] = []): string {
  const rest = names.length - 20;
  return names.slice(0, 20).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

type Login = { username: string; password: string };

/** Whether a broker that asks Berth accepts a login. */
async function accepts(brokerId: number, { username, password }: Login): Promise<boolean> {
  const headers = bearer(BROKERS_SECRET);
  const query = { broker: String(brokerId) };
  return (await call('POST /api/v1/mqtt/auth/user', { headers, query, body: { username, password } })).body.Ok;
}

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
