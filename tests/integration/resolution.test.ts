import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, type Berth, counts, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';

let berth: Berth;
let standard: number;
let keyed: number;
let own: number;

beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({});
  await berth.sql('delete from mqtt_broker_config');
  standard = await addBroker(berth, { host: 'default.example.com', is_default: true });
  keyed = await addBroker(berth, { host: 'keyed.example.com' });
  own = await addBroker(berth, { host: 'own.example.com' });
});

const mqttOf = (device: { uuid: string; deviceApiKey: string }) =>
  call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: { authorization: `Bearer ${device.deviceApiKey}` } });
const set = (id: number, column: string, value: unknown) =>
  berth.sql(`update mqtt_broker_config set ${column} = $1 where id = $2`, [value, id]);

describe('the steps', () => {
  it('decide in this order: device, provisioning key, default, environment, none', async () => {
    const { key, id } = await issueKey({ default_broker_id: keyed });
    const device = newDevice();
    await register(key, device);
    await berth.sql('update devices set mqtt_broker_id = $1 where uuid = $2', [own, device.uuid]);
    const source = async () => {
      const { status, body } = await mqttOf(device);
      return status === 200 ? [body.assignment.source, body.broker] : [status, body.code];
    };
    expect(await source()).toEqual(['device', 'mqtt://own.example.com:1883']);
    await set(own, 'is_active', false);
    expect(await source()).toEqual(['provisioning_key', 'mqtt://keyed.example.com:1883']);
    await set(keyed, 'is_active', false);
    expect(await source()).toEqual(['default', 'mqtt://default.example.com:1883']);
    await berth.sql('update provisioning_keys set default_broker_id = null where id = $1', [id]);
    await set(standard, 'is_active', false);
    expect(await source()).toEqual([503, 'no-broker-available']);
    setEnv({ MQTT_BROKER_URL: 'mqtt://environment.example.com:1883' });
    expect(await source()).toEqual(['environment', 'mqtt://environment.example.com:1883']);
    expect((await mqttOf(device)).body).not.toHaveProperty('brokerConfig');
    expect((await mqttOf(device)).body.assignment).toEqual({ source: 'environment', brokerId: null, brokerName: null });
  });

  it('deleting a broker ends the assignments to it', async () => {
    const { key } = await issueKey();
    const device = newDevice();
    await register(key, device);
    await berth.sql('update devices set mqtt_broker_id = $1 where uuid = $2', [own, device.uuid]);
    await berth.sql('delete from mqtt_broker_config where id = $1', [own]);
    expect((await mqttOf(device)).body.assignment).toMatchObject({ source: 'default', brokerId: standard });
  });
});

it('a draining broker keeps its devices and takes no new ones', async () => {
  const { key } = await issueKey();
  const old = newDevice();
  await register(key, old);
  await set(standard, 'accepts_new_devices', false);
  expect((await mqttOf(old)).body.assignment).toMatchObject({ source: 'default', brokerId: standard });
  expect((await register(key, old)).body.mqtt.assignment).toMatchObject({ source: 'default', brokerId: standard });
  expect(await register(key, newDevice())).toMatchObject({ status: 503, body: { code: 'no-broker-available' } });
});

it('503 no-broker-available writes nothing', async () => {
  await set(standard, 'is_active', false);
  const { key } = await issueKey();
  const before = await counts(berth);
  const reply = await register(key, newDevice());
  expect(reply).toMatchObject({ status: 503, body: { code: 'no-broker-available' } });
  expect(await counts(berth)).toEqual(before);
});

it('503 no-broker-available has a Retry-After of 30 to 59 s, for a new device, a replay and a poll', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  await register(key, device);
  await set(standard, 'is_active', false);
  for (const reply of [await register(key, newDevice()), await register(key, device), await mqttOf(device)]) {
    expect(reply).toMatchObject({ status: 503, body: { code: 'no-broker-available' } });
    expect(Number(reply.headers['retry-after'])).toBeGreaterThanOrEqual(30);
    expect(Number(reply.headers['retry-after'])).toBeLessThan(60);
  }
});

it('200 from MQTT_BROKER_URL without any broker row', async () => {
  await berth.sql('delete from mqtt_broker_config');
  setEnv({ MQTT_BROKER_URL: 'mqtt://mosquitto:1883' });
  const { key } = await issueKey();
  const { status, body } = await register(key, newDevice());
  expect(status).toBe(200);
  expect(body.mqtt).toMatchObject({ broker: 'mqtt://mosquitto:1883', assignment: { source: 'environment' } });
  expect(body.mqtt).not.toHaveProperty('brokerConfig');
});

it('200 from MQTT_BROKER_URL when the lookup fails, 500 without it', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  await berth.sql('alter table mqtt_broker_config rename to out_of_order');
  try {
    expect((await register(key, device)).status).toBe(500);
    setEnv({ MQTT_BROKER_URL: 'mqtt://fallback:1883' });
    expect(await register(key, device)).toMatchObject({
      status: 200,
      body: { mqtt: { broker: 'mqtt://fallback:1883' } },
    });
    expect((await mqttOf(device)).body).toMatchObject({
      broker: 'mqtt://fallback:1883',
      assignment: { source: 'environment' },
    });
  } finally {
    await berth.sql('alter table out_of_order rename to mqtt_broker_config');
  }
  expect((await mqttOf(device)).body.assignment.source).toBe('default');
});

describe('AUTO_ASSIGN_BROKER', () => {
  const assigned = async (uuid: string) =>
    (await berth.sql('select mqtt_broker_id from devices where uuid = $1', [uuid]))[0]?.mqtt_broker_id;

  it('true: assigns the default broker to a new device', async () => {
    setEnv({ AUTO_ASSIGN_BROKER: 'true' });
    const { key } = await issueKey();
    const device = newDevice();
    const { body } = await register(key, device);
    expect(body.mqtt.assignment).toMatchObject({ source: 'default', brokerId: standard });
    expect(await assigned(device.uuid)).toBe(standard);
  });

  it('default: leaves a new device unassigned, so that it follows the default broker', async () => {
    const { key } = await issueKey();
    const device = newDevice();
    await register(key, device);
    expect(await assigned(device.uuid)).toBeNull();
    await set(standard, 'is_default', false);
    await set(own, 'is_default', true);
    expect((await mqttOf(device)).body.assignment).toMatchObject({ source: 'default', brokerId: own });
  });
});

describe('berth_resolve', () => {
  it.each([
    [
      'devices',
      'select * from devices d cross join lateral berth_resolve(d.uuid::text, d.mqtt_broker_id, d.provisioned_by_key_id, false) s',
    ],
    ['mqtt_broker_users', `select * from mqtt_broker_users where username = 'device_x'`],
  ])('is inlined into a query of %s: no function scan in its plan', async (_, query) => {
    const plan = JSON.stringify(await berth.sql(`explain (verbose, format json) ${query}`));
    expect(plan).not.toContain('Function Scan');
    expect(plan).not.toContain('berth_resolve');
    // The plan is that of the function's own query.
    expect(plan).toContain('Values Scan');
  });

  it('gives the skip_reason: none, missing, inactive, and draining for a new device', async () => {
    const { id } = await issueKey({ default_broker_id: keyed });
    const steps = (isNew: boolean, assigned: number | null) =>
      berth.sql(
        'select number, source, broker_id, usable, skip_reason, connect_after_ms from berth_resolve($1, $2, $3, $4) order by number',
        ['device', assigned, id, isNew],
      );
    const step = (number: number, source: string, broker_id: number | null, skip_reason: string | null) => ({
      ...{ number, source, broker_id, usable: skip_reason === null, skip_reason, connect_after_ms: 0 },
    });
    await set(keyed, 'is_active', false);
    await set(standard, 'accepts_new_devices', false);
    const byKey = step(2, 'provisioning_key', keyed, 'inactive');
    expect(await steps(true, null)).toEqual([
      step(1, 'device', null, 'none'),
      byKey,
      step(3, 'default', standard, 'draining'),
    ]);
    expect(await steps(false, 999_999)).toEqual([
      step(1, 'device', 999_999, 'missing'),
      byKey,
      step(3, 'default', standard, null),
    ]);
  });
});

it('503 no-broker-available leaves a legacy device the MQTT password that it has', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  const { username } = (await register(key, device)).body.mqtt;
  await berth.sql('update devices set mqtt_password_salt = null where uuid = $1', [device.uuid]);
  const stored = () => berth.sql('select password_hash, updated_at from mqtt_users where username = $1', [username]);
  const before = await stored();
  await set(standard, 'is_active', false);
  expect(await register(key, device)).toMatchObject({ status: 503, body: { code: 'no-broker-available' } });
  expect(await stored()).toEqual(before);
});

it('an IPv6 host is put in brackets', async () => {
  await set(standard, 'host', '2001:db8::1');
  const { key } = await issueKey();
  expect((await register(key, newDevice())).body.mqtt.broker).toBe('mqtt://[2001:db8::1]:1883');
});
