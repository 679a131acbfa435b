import { hash } from 'bcryptjs';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { call } from '../support/api.ts';
import {
  addBroker,
  admin,
  type Berth,
  bearer,
  issueKey,
  newDevice,
  register,
  setEnv,
  startBerth,
} from '../support/berth.ts';
import { addLegacyDevice, addLegacyUser, createLegacyTables, SPELLINGS } from '../support/legacy.ts';

/**
 * Devices of the legacy service and their MQTT users. Its rows name no MQTT user (mqtt_username is NULL), and the usernames
 * contain the uuid as the device had sent it.
 */
const SECRET = 'secret-of-the-brokers';
let berth: Berth;
let here: number;
let elsewhere: number;
let key: string;

beforeAll(async () => {
  berth = await startBerth({ prepare: createLegacyTables });
  here = await addBroker(berth, { is_default: true });
  elsewhere = await addBroker(berth);
  setEnv({ BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) });
  key = (await issueKey()).key;
});
afterAll(() => berth.stop());
beforeEach(() => berth.sql('truncate devices, mqtt_users, mqtt_acls, device_api_key_history'));

type Login = { username: string; password: string };
type Legacy = Awaited<ReturnType<typeof addLegacyDevice>>;
/** Whether a broker lets the user in; null: a broker that does not say which one it is. */
const isAccepted = async ({ username, password }: Login, broker: number | null = here) =>
  (
    await call('POST /api/v1/mqtt/auth/user', {
      headers: bearer(SECRET),
      query: broker === null ? {} : { broker: String(broker) },
      body: { username, password },
    })
  ).body.Ok;
const users = async () => (await berth.sql('select username from mqtt_users order by id')).map((row) => row.username);
const aclUsers = async () =>
  (await berth.sql('select distinct username from mqtt_acls order by 1')).map((row) => row.username);
const operator = (method: string, { device }: Legacy, rest = '', body?: object) =>
  call(`${method} /api/v1/devices/${device.uuid}${rest}`, { headers: admin, ...(body ? { body } : {}) });
const poll = ({ device }: Legacy, deviceKey = device.deviceApiKey) =>
  call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(deviceKey) });

describe.each(Object.keys(SPELLINGS))('a legacy device that has sent its uuid in the spelling “%s”', (spelling) => {
  let legacy: Legacy;
  let login: Login;
  let other: Legacy;
  beforeEach(async () => {
    legacy = await addLegacyDevice(berth.sql, spelling);
    other = await addLegacyDevice(berth.sql, spelling);
    [login] = legacy.logins as [Login];
  });

  it('200: /mqtt names the MQTT user that it has, without a password', async () => {
    const { status, body } = await poll(legacy);
    expect(status).toBe(200);
    expect(body.username).toBe(login.username);
    expect(body.topics.publish).toEqual([`iot/device/${login.username.slice(7)}/#`]);
    expect(body).not.toHaveProperty('password');
  });

  it('200: GET of the device names the MQTT user that it has', async () => {
    expect((await operator('GET', legacy)).body.device.mqtt_username).toBe(login.username);
    await berth.sql('delete from mqtt_users where username = $1', [login.username]);
    expect((await operator('GET', legacy)).body.device.mqtt_username).toBeNull();
  });

  it('its MQTT user is accepted at its broker only, and nowhere while the device is deactivated', async () => {
    expect(await isAccepted(login)).toBe(true);
    expect(await isAccepted(login, elsewhere)).toBe(false);
    await berth.sql('update devices set is_active = false where uuid = $1', [legacy.device.uuid]);
    expect(await isAccepted(login)).toBe(false);
    expect(await isAccepted(login, null)).toBe(false);
  });

  it('200: rotate-credentials ends its MQTT password, and no other device’s', async () => {
    expect((await operator('POST', legacy, '/rotate-credentials')).status).toBe(200);
    expect(await isAccepted(login)).toBe(false);
    expect(await isAccepted(other.logins[0] as Login)).toBe(true);
    const { body } = await poll(legacy);
    expect(await isAccepted(body)).toBe(true);
    expect(await users()).not.toContain(spelling === 'canonical' ? '' : login.username);
  });

  it('200: is_active false disables its MQTT user, true enables it, and no other device’s', async () => {
    const states = async () =>
      Object.fromEntries(
        (await berth.sql('select username, is_active from mqtt_users')).map((row) => [row.username, row.is_active]),
      );
    const others = other.logins[0]?.username as string;
    await operator('PUT', legacy, '', { is_active: false });
    expect(await states()).toEqual({ [login.username]: false, [others]: true });
    await operator('PUT', legacy, '', { is_active: true });
    expect(await states()).toEqual({ [login.username]: true, [others]: true });
  });

  it('200: DELETE removes its MQTT user and ACLs, and no other device’s', async () => {
    expect((await operator('DELETE', legacy)).status).toBe(200);
    expect(await isAccepted(login, null)).toBe(false);
    expect(await users()).toEqual([other.logins[0]?.username]);
    expect(await aclUsers()).toEqual([other.logins[0]?.username]);
  });

  it('200: registering again ends its MQTT user, and no other device’s', async () => {
    const { status, body } = await register(key, legacy.device);
    expect(status).toBe(200);
    expect(await isAccepted(login, null)).toBe(false);
    expect(await isAccepted(body.mqtt)).toBe(true);
    expect(await users()).toEqual(expect.arrayContaining([body.mqtt.username, other.logins[0]?.username]));
    expect(await users()).toHaveLength(2);
    expect(await aclUsers()).toHaveLength(2);
  });

  it('a new registration, after the legacy service deleted the device, does not inherit its MQTT user', async () => {
    await berth.sql('delete from devices where uuid = $1', [legacy.device.uuid]);
    expect(await isAccepted(login, elsewhere), 'belongs to no device').toBe(true);
    const { body } = await register(key, legacy.device);
    expect(body.mqtt.username).toBe(`device_${legacy.device.uuid}`);
    expect(await isAccepted(login, null)).toBe(false);
    expect(await isAccepted(body.mqtt)).toBe(true);
    expect(await isAccepted(other.logins[0] as Login)).toBe(true);
    expect(await users()).toHaveLength(2);
    expect(await aclUsers()).toHaveLength(2);
  });
});

describe('a legacy device that has sent its uuid in several spellings', () => {
  const spellings = ['upper case', 'canonical', 'braces'];
  let legacy: Legacy;
  beforeEach(async () => {
    legacy = await addLegacyDevice(berth.sql, ...spellings);
  });
  const accepted = async () => Promise.all(legacy.logins.map((login) => isAccepted(login)));

  it('200: /mqtt names the MQTT user of its latest registration', async () => {
    expect((await poll(legacy)).body.username).toBe(legacy.logins[2]?.username);
    await addLegacyUser(berth.sql, legacy.device.uuid.replaceAll('-', ''));
    expect((await poll(legacy)).body.username).toBe(`device_${legacy.device.uuid.replaceAll('-', '')}`);
  });

  it('rotation and registering again end them all, and deactivation disables them all', async () => {
    expect(await accepted()).toEqual([true, true, true]);
    await operator('PUT', legacy, '', { is_active: false });
    expect(await berth.sql('select distinct is_active from mqtt_users')).toEqual([{ is_active: false }]);
    await operator('PUT', legacy, '', { is_active: true });
    await operator('POST', legacy, '/rotate-credentials');
    expect(await accepted()).toEqual([false, false, false]);
    const { body } = await register(key, legacy.device);
    expect(await users()).toEqual([body.mqtt.username]);
    expect(await aclUsers()).toEqual([body.mqtt.username]);
  });

  it('a new password stays disabled if an operator has disabled one of its MQTT users', async () => {
    await berth.sql('update mqtt_users set is_active = false where username = $1', [legacy.logins[0]?.username]);
    await register(key, legacy.device);
    expect(await berth.sql('select is_active from mqtt_users')).toEqual([{ is_active: false }]);
  });
});

it('200: a device without an MQTT user gets one from /mqtt, with a password', async () => {
  const legacy = await addLegacyDevice(berth.sql);
  const { status, body } = await poll(legacy);
  expect(status).toBe(200);
  expect(await isAccepted(body)).toBe(true);
  expect((await poll(legacy)).body).toEqual(body);
});

it('a user that only looks like the user of a device belongs to none, and stays', async () => {
  const legacy = await addLegacyDevice(berth.sql, 'canonical');
  const spelt = legacy.device.uuid.toUpperCase();
  const names = [`gadget_${spelt}`, `DEVICE_${spelt}`, `device_${spelt}0`, `device_${spelt.slice(1)}`, 'device_probe'];
  for (const name of names)
    await berth.sql('insert into mqtt_users (username, password_hash) values ($1, $2)', [name, '']);
  expect(
    await berth.sql('select username from mqtt_device_users where device_uuid is null order by username'),
  ).toHaveLength(names.length);
  await operator('DELETE', legacy);
  expect((await users()).sort()).toEqual(names.sort());
});

it('the legacy service may give a device that it registers again the MQTT user that it had', async () => {
  const { username } = await addLegacyUser(berth.sql, newDevice().uuid.toUpperCase());
  await berth.sql('insert into devices (uuid) values ($1)', [username.slice(7)]);
  expect(await users()).toEqual([username]);
});

describe('the device key is replaced by the legacy service', () => {
  const rotateAtLegacy = async (uuid: string, deviceKey: string) =>
    berth.sql('update devices set device_api_key_hash = $2, api_key_last_rotated_at = now() where uuid = $1', [
      uuid,
      await hash(deviceKey, 4),
    ]);
  const fresh = 'key-of-the-legacy-service';

  it.each(['/mqtt', 'registering again'])('200: %s hands out a new MQTT password, which works', async (request) => {
    const device = newDevice();
    const before = (await register(key, device)).body.mqtt;
    await rotateAtLegacy(device.uuid, fresh);
    const now = { ...device, deviceApiKey: fresh };
    const ask = async () =>
      request === '/mqtt'
        ? (await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(fresh) })).body
        : (await register(key, now)).body.mqtt;
    const mqtt = await ask();
    expect(mqtt.username).toBe(before.username);
    expect(mqtt.password).not.toBe(before.password);
    expect(await isAccepted(mqtt)).toBe(true);
    expect(await isAccepted(before)).toBe(false);
    expect(await ask(), 'and the same one from then on').toEqual(mqtt);
    const events = await berth.sql('select type from device_events where device_uuid = $1 order by id', [device.uuid]);
    expect(events.map(({ type }) => type)).toEqual(['registered', 'credentials-renewed']);
  });

  it('the hash that the trigger archives is the one that was replaced', async () => {
    const device = newDevice();
    await register(key, device);
    await rotateAtLegacy(device.uuid, fresh);
    expect(await berth.sql('select device_uuid::text as uuid from device_api_key_history')).toEqual([
      { uuid: device.uuid },
    ]);
  });
});

it('a trigger of the legacy service gives each device that registers three more ACLs, until it is disabled', async () => {
  const topics = async () => {
    const { body } = await register(key, newDevice());
    const rows = await berth.sql('select topic from mqtt_acls where username = $1 order by id', [body.mqtt.username]);
    return rows.map(({ topic }) => topic.replace(body.uuid, 'UUID'));
  };
  expect(await topics()).toEqual(['iot/device/UUID/#', 'device/UUID/#', 'sensor/UUID/#', 'system/status']);
  await berth.sql('alter table devices disable trigger trigger_create_mqtt_user_for_device');
  expect(await topics()).toEqual(['iot/device/UUID/#']);
  await berth.sql('alter table devices enable trigger trigger_create_mqtt_user_for_device');
});

describe('the statements find the users of one device among many', () => {
  let client: pg.Client;
  beforeEach(async () => {
    await berth.sql(`
      insert into mqtt_users (username, password_hash) select 'device_' || gen_random_uuid(), '' from generate_series(1, 5000);
      insert into mqtt_users (username, password_hash) select 'device_' || upper(gen_random_uuid()::text), '' from generate_series(1, 500);
      analyze mqtt_users`);
    client = new pg.Client({ connectionString: berth.databaseUrl });
    await client.connect();
  });
  afterEach(() => client.end());
  const rows = async (query: string) => (await client.query(query)).rows;

  it('through the index of spellings, not by reading mqtt_users', async () => {
    const { device, logins } = await addLegacyDevice(berth.sql, 'upper case');
    const scans = async () => {
      await rows('select pg_stat_force_next_flush()');
      const [all] = await rows(`select seq_scan from pg_stat_user_tables where relname = 'mqtt_users'`);
      const [one] = await rows(
        `select idx_scan from pg_stat_user_indexes where indexrelname = 'mqtt_users_spelling_idx'`,
      );
      return { all: Number(all.seq_scan), one: Number(one.idx_scan) };
    };
    const before = await scans();
    const names = `berth_mqtt_usernames('${device.uuid}', null)`;
    expect(await rows(`select name from ${names} name order by 1`)).toHaveLength(2);
    expect(await scans()).toEqual({ all: before.all, one: before.one + 1 });
    for (const query of [
      `delete from mqtt_users where username in (select name from ${names} name)`,
      `update mqtt_users u set is_active = true from ${names} name where u.username = name`,
      `select * from mqtt_broker_users where username = '${logins[0]?.username}'`,
    ]) {
      const plan = (await rows(`explain ${query}`)).map((row) => row['QUERY PLAN']).join('\n');
      expect(plan, query).not.toMatch(/Seq Scan on mqtt_users/);
    }
  });
});
