import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, type Berth, issueKey, newDevice, register, startBerth } from '../support/berth.ts';

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
    ...(header === undefined ? {} : { headers: { authorization: `Bearer ${header}` } }),
    body,
    ip,
  });
const mqtt = (uuid: string, headers: Record<string, string>, ip = '198.51.100.7') =>
  call(`GET /api/v1/device/${encodeURIComponent(uuid)}/mqtt`, { headers, ip });
const bearer = { authorization: `Bearer ${device.deviceApiKey}` };

describe('key exchange', () => {
  const key = device.deviceApiKey;
  it('confirms the right key, whatever the case of the uuid', async () => {
    const body = {
      status: 'ok',
      message: 'Key exchange successful',
      device: { id: registered.body.id, uuid: device.uuid.toLowerCase(), deviceName: 'Pump 7' },
    };
    expect(await exchange(device.uuid, key, { deviceApiKey: key })).toMatchObject({ status: 200, body });
    expect((await exchange(device.uuid.toLowerCase(), key, { deviceApiKey: key })).body).toEqual(body);
  });

  it.each([
    ['no header', device.uuid, undefined, { deviceApiKey: key }, 400, 'Missing credentials'],
    ['no body', device.uuid, key, undefined, 400, 'Missing credentials'],
    ['an empty key', device.uuid, key, { deviceApiKey: '' }, 400, 'Missing credentials'],
    ['two different keys', device.uuid, key, { deviceApiKey: 'x' }, 401, 'Key mismatch'],
    ['a wrong key', device.uuid, 'x', { deviceApiKey: 'x' }, 401, 'Authentication failed'],
    ['an unknown device', 'nobody', key, { deviceApiKey: key }, 404, 'Device not found'],
    ['a uuid that cannot be one', 'a/#', key, { deviceApiKey: key }, 400, 'Invalid request'],
    ['a key that is a number', device.uuid, key, { deviceApiKey: 1 }, 400, 'Invalid request'],
    ['malformed JSON', device.uuid, key, '{', 400, 'Malformed JSON'],
  ])('%s', async (_, uuid, header, body, status, error) => {
    expect(await exchange(uuid, header, body, '203.0.113.20')).toMatchObject({ status, body: { error } });
  });
});

describe('GET /device/{uuid}/mqtt', () => {
  it('answers the mqtt object of the registration, with a strong ETag', async () => {
    const reply = await mqtt(device.uuid, bearer);
    expect(reply).toMatchObject({ status: 200, body: registered.body.mqtt });
    expect(reply.body.brokerConfig).toMatchObject({ caCert: 'PEM', useTls: true });
    expect(reply.body.version).toMatch(/^[\w-]{16}$/);
    expect(reply.headers.etag).toBe(`"${reply.body.version}"`);
    expect((await mqtt(device.uuid, { 'x-device-api-key': device.deviceApiKey })).text).toBe(reply.text);
  });

  it('answers 304 without a body while nothing has changed', async () => {
    const { etag } = (await mqtt(device.uuid, bearer)).headers;
    for (const tag of [etag, `"other", ${etag}`, `W/${etag}`, '*']) {
      const reply = await mqtt(device.uuid, { ...bearer, 'if-none-match': tag as string });
      expect(reply).toMatchObject({ status: 304, text: '', headers: { etag } });
    }
    expect((await mqtt(device.uuid, { ...bearer, 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('has another ETag once the device is moved, or its broker is edited', async () => {
    const before = (await mqtt(device.uuid, bearer)).headers.etag as string;
    const second = await addBroker(berth, { host: 'second.example.com' });
    await berth.sql('update devices set mqtt_broker_id = $1', [second]);
    const moved = await mqtt(device.uuid, { ...bearer, 'if-none-match': before });
    expect(moved).toMatchObject({
      status: 200,
      body: { broker: 'mqtt://second.example.com:1883', assignment: { source: 'device' } },
    });
    expect(moved.body.password).toBe(registered.body.mqtt.password);
    await berth.sql('update mqtt_broker_config set port = 1999 where id = $1', [second]);
    const edited = await mqtt(device.uuid, { ...bearer, 'if-none-match': moved.headers.etag as string });
    expect(edited).toMatchObject({ status: 200, body: { broker: 'mqtt://second.example.com:1999' } });
    await berth.sql('update devices set mqtt_broker_id = null');
    expect((await mqtt(device.uuid, bearer)).headers.etag).toBe(before);
  });

  it('keeps version and ETag when only the reason for the same broker changes', async () => {
    const before = await mqtt(device.uuid, bearer);
    await berth.sql('update devices set mqtt_broker_id = $1', [defaultBroker]);
    const assigned = await mqtt(device.uuid, bearer);
    expect([before.body.assignment.source, assigned.body.assignment.source]).toEqual(['default', 'device']);
    expect(assigned.body.version).toBe(before.body.version);
    const conditional = await mqtt(device.uuid, { ...bearer, 'if-none-match': `"${before.body.version}"` });
    expect(conditional.status).toBe(304);
    await berth.sql('update devices set mqtt_broker_id = null');
  });

  it.each([
    ['no key', device.uuid, {}, 401, 'unauthorized'],
    ['a wrong key', device.uuid, { authorization: 'Bearer x' }, 401, 'authentication-failed'],
    ['an unknown device', 'nobody', bearer, 404, 'device-not-found'],
    ['a uuid that cannot be one', '+', bearer, 400, 'invalid-request'],
  ])('%s', async (_, uuid, headers, status, code) => {
    expect(await mqtt(uuid, headers as Record<string, string>, '203.0.113.21')).toMatchObject({
      status,
      body: { code },
    });
  });

  it('follows another default', async () => {
    const other = await addBroker(berth, { host: 'next.example.com' });
    await berth.sql('update mqtt_broker_config set is_default = false where id = $1', [defaultBroker]);
    await berth.sql('update mqtt_broker_config set is_default = true where id = $1', [other]);
    expect((await mqtt(device.uuid, bearer)).body.broker).toBe('mqtt://next.example.com:1883');
    await berth.sql('update mqtt_broker_config set is_default = false where id = $1', [other]);
    await berth.sql('update mqtt_broker_config set is_default = true where id = $1', [defaultBroker]);
  });
});

describe('an inactive device', () => {
  it('is refused by every route with the right key', async () => {
    await berth.sql('update devices set is_active = false');
    const key = device.deviceApiKey;
    expect(await exchange(device.uuid, key, { deviceApiKey: key })).toMatchObject({
      status: 403,
      body: { code: 'device-inactive' },
    });
    expect(await mqtt(device.uuid, bearer)).toMatchObject({ status: 403, body: { code: 'device-inactive' } });
    const fresh = await issueKey();
    expect(await register(fresh.key, device)).toMatchObject({ status: 403, body: { code: 'device-inactive' } });
    await berth.sql('update devices set is_active = true');
  });
});
