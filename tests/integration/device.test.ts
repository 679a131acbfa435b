import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, type Berth, bearer, issueKey, newDevice, register, startBerth } from '../support/berth.ts';

let berth: Berth;
let defaultBroker: number;
const device = newDevice({ uuid: '44FAAB1A-6B5E-4A53-8F0C-0D8C8B1E4F11' });
let registered: Awaited<ReturnType<typeof register>>;

beforeAll(async () => {
  berth = await startBerth();
  defaultBroker = await addBroker(berth, {
    name: 'main',
    is_default: true,
    protocol: 'mqtts',
    use_tls: true,
    ca_cert: 'PEM',
    port: 8883,
  });
  const { key } = await issueKey();
  registered = await register(key, device);
});
afterAll(() => berth.stop());

const exchange = (uuid: string, header: string | undefined, body: unknown, ip = '198.51.100.7') =>
  call(`POST /api/v1/device/${encodeURIComponent(uuid)}/key-exchange`, {
    ...(header === undefined ? {} : { headers: bearer(header) }),
    body,
    ip,
  });
const mqtt = (uuid: string, headers: Record<string, string>, ip = '198.51.100.7') =>
  call(`GET /api/v1/device/${encodeURIComponent(uuid)}/mqtt`, { headers, ip });
const ownKey = bearer(device.deviceApiKey);

describe('POST /device/{uuid}/key-exchange', () => {
  const key = device.deviceApiKey;
  it('200: the correct device key, with the uuid in upper or lower case', async () => {
    const body = {
      status: 'ok',
      message: 'Key exchange successful',
      device: { id: registered.body.id, uuid: device.uuid.toLowerCase(), deviceName: 'Pump 7' },
    };
    for (const uuid of [device.uuid, device.uuid.toLowerCase()]) {
      const reply = await exchange(uuid, key, { deviceApiKey: key });
      expect(reply.status).toBe(200);
      expect(reply.body).toEqual(body);
    }
  });

  it.each([
    [400, 'Missing credentials', 'no header', device.uuid, undefined, { deviceApiKey: key }],
    [400, 'Missing credentials', 'no body', device.uuid, key, undefined],
    [400, 'Missing credentials', 'an empty key', device.uuid, key, { deviceApiKey: '' }],
    [401, 'Key mismatch', 'different keys in header and body', device.uuid, key, { deviceApiKey: 'x' }],
    [401, 'Authentication failed', 'a wrong key', device.uuid, 'x', { deviceApiKey: 'x' }],
    [404, 'Device not found', 'an unknown device', 'nobody', key, { deviceApiKey: key }],
    [400, 'Invalid request', 'a uuid with MQTT wildcards', 'a/#', key, { deviceApiKey: key }],
    [400, 'Invalid request', 'a numeric key', device.uuid, key, { deviceApiKey: 1 }],
    [400, 'Malformed JSON', 'malformed JSON', device.uuid, key, '{'],
  ])('%i %s: %s', async (status, error, _, uuid, header, body) => {
    expect(await exchange(uuid, header, body, '203.0.113.20')).toMatchObject({ status, body: { error } });
  });
});

describe('GET /device/{uuid}/mqtt', () => {
  it('200: the mqtt object of the registration with a strong ETag, for both key headers', async () => {
    const reply = await mqtt(device.uuid, ownKey);
    expect(reply.status).toBe(200);
    expect(reply.body).toEqual(registered.body.mqtt);
    expect(reply.body.brokerConfig).toMatchObject({ caCert: 'PEM', useTls: true });
    expect(reply.body.version).toMatch(/^[\w-]{16}$/);
    expect(reply.headers.etag).toBe(`"${reply.body.version}"`);
    expect((await mqtt(device.uuid, { 'x-device-api-key': device.deviceApiKey })).text).toBe(reply.text);
  });

  it('304 without a body: If-None-Match contains the ETag, also weak, in a list or as *', async () => {
    const { etag } = (await mqtt(device.uuid, ownKey)).headers;
    for (const tag of [etag, `"other", ${etag}`, `W/${etag}`, '*']) {
      const reply = await mqtt(device.uuid, { ...ownKey, 'if-none-match': tag as string });
      expect(reply).toMatchObject({ status: 304, text: '', headers: { etag } });
    }
    expect((await mqtt(device.uuid, { ...ownKey, 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('200 with a new ETag and the same password: the device was moved, then its broker was edited', async () => {
    const before = (await mqtt(device.uuid, ownKey)).headers.etag as string;
    const second = await addBroker(berth, { host: 'second.example.com' });
    await berth.sql('update devices set mqtt_broker_id = $1', [second]);
    const moved = await mqtt(device.uuid, { ...ownKey, 'if-none-match': before });
    expect(moved).toMatchObject({
      status: 200,
      body: { broker: 'mqtt://second.example.com:1883', assignment: { source: 'device' } },
    });
    expect(moved.body.password).toBe(registered.body.mqtt.password);
    await berth.sql('update mqtt_broker_config set port = 1999 where id = $1', [second]);
    const edited = await mqtt(device.uuid, { ...ownKey, 'if-none-match': moved.headers.etag as string });
    expect(edited).toMatchObject({
      status: 200,
      body: { broker: 'mqtt://second.example.com:1999', password: moved.body.password },
    });
    expect(new Set([before, moved.headers.etag, edited.headers.etag]).size).toBe(3);
    await berth.sql('update devices set mqtt_broker_id = null');
    expect((await mqtt(device.uuid, ownKey)).headers.etag).toBe(before);
  });

  it('304: only the source of the same broker changed; version and ETag stay', async () => {
    const before = await mqtt(device.uuid, ownKey);
    await berth.sql('update devices set mqtt_broker_id = $1', [defaultBroker]);
    const assigned = await mqtt(device.uuid, ownKey);
    expect([before.body.assignment.source, assigned.body.assignment.source]).toEqual(['default', 'device']);
    expect(assigned.body.version).toBe(before.body.version);
    const conditional = await mqtt(device.uuid, { ...ownKey, 'if-none-match': `"${before.body.version}"` });
    expect(conditional.status).toBe(304);
    await berth.sql('update devices set mqtt_broker_id = null');
  });

  it.each([
    [401, 'unauthorized', 'no key', device.uuid, {}],
    [401, 'authentication-failed', 'a wrong key', device.uuid, bearer('x')],
    [404, 'device-not-found', 'an unknown device', 'nobody', ownKey],
    [400, 'invalid-request', 'a uuid with an MQTT wildcard', '+', ownKey],
  ])('%i %s: %s', async (status, code, _, uuid, headers) => {
    expect(await mqtt(uuid, { ...headers }, '203.0.113.21')).toMatchObject({ status, body: { code } });
  });

  it('200 with the new default broker after a change of the default', async () => {
    const other = await addBroker(berth, { host: 'next.example.com' });
    await berth.sql('update mqtt_broker_config set is_default = false where id = $1', [defaultBroker]);
    await berth.sql('update mqtt_broker_config set is_default = true where id = $1', [other]);
    expect((await mqtt(device.uuid, ownKey)).body.broker).toBe('mqtt://next.example.com:1883');
    await berth.sql('update mqtt_broker_config set is_default = false where id = $1', [other]);
    await berth.sql('update mqtt_broker_config set is_default = true where id = $1', [defaultBroker]);
  });
});

it('403 device-inactive: an inactive device, on each device route with the correct keys', async () => {
  await berth.sql('update devices set is_active = false');
  const key = device.deviceApiKey;
  const fresh = await issueKey();
  for (const reply of [
    await exchange(device.uuid, key, { deviceApiKey: key }),
    await mqtt(device.uuid, ownKey),
    await register(fresh.key, device),
  ]) {
    expect(reply).toMatchObject({ status: 403, body: { code: 'device-inactive' } });
  }
  await berth.sql('update devices set is_active = true');
});
