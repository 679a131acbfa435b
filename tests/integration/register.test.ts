import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { call } from '../support/api.ts';
import { addBroker, type Berth, counts, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';

let berth: Berth;
let brokerId: number;
let key: { id: string; key: string };

beforeAll(async () => {
  berth = await startBerth();
  brokerId = await addBroker(berth, { name: 'main', is_default: true });
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({});
  key = await issueKey({ maxDevices: 50 });
});

describe('a new device', () => {
  it('200 with everything that it needs to connect', async () => {
    const device = newDevice({
      applicationId: 'app-1',
      macAddress: 'aa:bb:cc:dd:ee:ff',
      osVersion: 'os',
      surplus: { a: 1 },
    });
    const { status, body, headers } = await register(key.key, device);
    expect(status).toBe(200);
    expect(headers['idempotent-replayed']).toBeUndefined();
    expect(headers['cache-control']).toBe('no-store');
    expect(body).toEqual({
      id: expect.any(Number),
      uuid: device.uuid,
      deviceName: 'Pump 7',
      deviceType: 'raspberry-pi',
      applicationId: 'app-1',
      fleetId: 'fleet-a',
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      mqtt: {
        username: `device_${device.uuid}`,
        password: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
        broker: 'mqtt://mqtt.example.com:1883',
        brokerConfig: {
          protocol: 'mqtt',
          host: 'mqtt.example.com',
          port: 1883,
          useTls: false,
          verifyCertificate: true,
          clientIdPrefix: 'berth',
          keepAlive: 60,
          cleanSession: true,
          reconnectPeriod: 1000,
          connectTimeout: 30000,
        },
        topics: { publish: [`iot/device/${device.uuid}/#`], subscribe: [`iot/device/${device.uuid}/#`] },
        assignment: { source: 'default', brokerId, brokerName: 'main' },
        version: expect.stringMatching(/^[\w-]{16}$/),
      },
    });
    expect(Math.abs(Date.parse(body.createdAt) - Date.now())).toBeLessThan(60_000);
  });

  it('is stored with MQTT user, ACL and event; its key and password are not stored', async () => {
    const device = newDevice();
    const { body } = await register(key.key, device);
    const [row] = await berth.sql('select * from devices where uuid = $1', [device.uuid]);
    expect(row).toMatchObject({
      fleet_id: 'fleet-a',
      provisioned_by_key_id: key.id,
      mqtt_broker_id: null,
      is_active: true,
    });
    const [user] = await berth.sql('select * from mqtt_users where username = $1', [body.mqtt.username]);
    expect(user).toMatchObject({ is_active: true, is_superuser: false });
    expect(await verifyMqttPassword(body.mqtt.password, user?.password_hash)).toBe(true);
    expect(await verifyMqttPassword(`${body.mqtt.password}x`, user?.password_hash)).toBe(false);
    const acls = await berth.sql('select topic, access from mqtt_acls where username = $1', [body.mqtt.username]);
    expect(acls).toEqual([{ topic: `iot/device/${device.uuid}/#`, access: 7 }]);
    const events = await berth.sql('select type, to_broker_id, source_ip from device_events where device_uuid = $1', [
      device.uuid,
    ]);
    expect(events).toEqual([{ type: 'registered', to_broker_id: brokerId, source_ip: '198.51.100.7' }]);
    const everything = JSON.stringify(
      await berth.sql('select d, u, k from devices d, mqtt_users u, provisioning_keys k'),
    );
    for (const secret of [device.deviceApiKey, body.mqtt.password, key.key]) expect(everything).not.toContain(secret);
  });

  it('replaces a leftover MQTT user, superuser or inactive, and leftover ACLs of its name', async () => {
    const device = newDevice();
    const username = `device_${device.uuid}`;
    await berth.sql(
      `insert into mqtt_users (username, password_hash, is_superuser, is_active) values ($1, 'old', true, false)`,
      [username],
    );
    await berth.sql(`insert into mqtt_acls (username, topic, access) values ($1, '#', 7)`, [username]);
    const { body } = await register(key.key, device);
    const [user] = await berth.sql('select * from mqtt_users where username = $1', [username]);
    expect(user).toMatchObject({ is_superuser: false, is_active: true });
    expect(await verifyMqttPassword(body.mqtt.password, user?.password_hash)).toBe(true);
    expect(await berth.sql('select topic from mqtt_acls where username = $1', [username])).toEqual([
      { topic: `iot/device/${device.uuid}/#` },
    ]);
  });

  it('is assigned to the broker of its provisioning key', async () => {
    const broker = await addBroker(berth);
    const withBroker = await issueKey({ default_broker_id: broker });
    const device = newDevice();
    await register(withBroker.key, device);
    const [row] = await berth.sql('select mqtt_broker_id, mqtt_broker_assigned_at from devices where uuid = $1', [
      device.uuid,
    ]);
    expect(row).toEqual({ mqtt_broker_id: broker, mqtt_broker_assigned_at: expect.any(Date) });
  });

  it('200 for the uuid test-123 of the seed documents', async () => {
    const body = { uuid: 'test-123', deviceName: 'Test Device', deviceType: 'raspberry-pi', deviceApiKey: 'test-key' };
    const reply = await register(key.key, body);
    expect(reply.status).toBe(200);
    expect(reply.body.mqtt.username).toBe('device_test-123');
  });

  it('200 for a uuid of 255 characters', async () => {
    const { status, body } = await register(key.key, newDevice({ uuid: 'x'.repeat(255) }));
    expect(status).toBe(200);
    expect(body.mqtt.topics.publish).toEqual([`iot/device/${'x'.repeat(255)}/#`]);
  });

  it('stores a bcrypt hash with MQTT_PASSWORD_HASH=bcrypt', async () => {
    setEnv({ MQTT_PASSWORD_HASH: 'bcrypt' });
    const { body } = await register(key.key, newDevice());
    const [user] = await berth.sql('select password_hash from mqtt_users where username = $1', [body.mqtt.username]);
    expect(user?.password_hash).toMatch(/^\$2b\$/);
    expect(await verifyMqttPassword(body.mqtt.password, user?.password_hash)).toBe(true);
  });
});

describe('a replay', () => {
  it('200 with the identical reply and Idempotent-Replayed, no quota charged', async () => {
    const device = newDevice();
    const first = await register(key.key, device);
    const before = await counts(berth);
    const again = await register(key.key, device);
    expect(again.status).toBe(200);
    expect(again.text).toBe(first.text);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(await counts(berth)).toEqual(before);
  });

  it('200 although the key is used up or expired by now, 401 if it is revoked', async () => {
    const small = await issueKey({ maxDevices: 1 });
    const device = newDevice();
    const first = await register(small.key, device);
    expect((await register(small.key, newDevice())).body.code).toBe('provisioning-key-exhausted');
    expect((await register(small.key, device)).text).toBe(first.text);
    await berth.sql(`update provisioning_keys set expires_at = now() - interval '1 hour' where id = $1`, [small.id]);
    expect((await register(small.key, newDevice())).body.code).toBe('provisioning-key-expired');
    expect((await register(small.key, device)).text).toBe(first.text);
    await berth.sql('update provisioning_keys set is_active = false where id = $1', [small.id]);
    expect((await register(small.key, device)).body.code).toBe('provisioning-key-revoked');
  });

  it('409 with another device key, and nothing changes', async () => {
    const device = newDevice();
    const first = await register(key.key, device);
    const before = await counts(berth);
    const other = await register(key.key, { ...device, deviceApiKey: 'another-key' });
    expect(other).toMatchObject({
      status: 409,
      body: {
        error: 'Device registration failed',
        message: 'This device is already registered',
        code: 'device-already-registered',
      },
    });
    expect(await counts(berth)).toEqual(before);
    expect((await register(key.key, device)).text).toBe(first.text);
  });

  it('409 with a provisioning key of another fleet, 200 with another key of its fleet', async () => {
    const device = newDevice();
    await register(key.key, device);
    const foreign = await issueKey({ fleetId: 'fleet-b' });
    expect(await register(foreign.key, device)).toMatchObject({ status: 409, body: { code: 'device-in-other-fleet' } });
    const sibling = await issueKey();
    expect(await register(sibling.key, device)).toMatchObject({
      status: 200,
      headers: { 'idempotent-replayed': 'true' },
    });
  });

  it('with another key of its fleet resolves by the key that it registered with', async () => {
    const device = newDevice();
    const first = await register(key.key, device);
    const sibling = await issueKey();
    const elsewhere = await addBroker(berth, { host: 'elsewhere.example.com' });
    await berth.sql('update provisioning_keys set default_broker_id = $1 where id = $2', [elsewhere, sibling.id]);
    expect((await register(sibling.key, device)).text).toBe(first.text);
  });

  it('is 200 for a legacy device without a fleet', async () => {
    const device = newDevice();
    const { body } = await register(key.key, device);
    await berth.sql('update devices set fleet_id = null where uuid = $1', [device.uuid]);
    const again = await register(key.key, device);
    expect(again.status).toBe(200);
    expect(again.body).toEqual({ ...body, fleetId: null });
  });

  it('200 with the broker that it belongs to now', async () => {
    const device = newDevice();
    await register(key.key, device);
    const second = await addBroker(berth, { host: 'second.example.com' });
    await berth.sql('update devices set mqtt_broker_id = $1 where uuid = $2', [second, device.uuid]);
    const { body } = await register(key.key, device);
    expect(body.mqtt.broker).toBe('mqtt://second.example.com:1883');
    expect(body.mqtt.assignment).toMatchObject({ source: 'device', brokerId: second });
  });
});

describe('a provisioning key', () => {
  const cases: [string, Record<string, string>, number, string, string][] = [
    ['absent', {}, 401, 'unauthorized', 'Unauthorized'],
    ['of another scheme', { authorization: 'Basic dXNlcjpwYXNz' }, 401, 'unauthorized', 'Unauthorized'],
    ['sent twice', { authorization: 'Bearer a, Bearer b' }, 401, 'unauthorized', 'Unauthorized'],
    ['empty', { authorization: 'Bearer ' }, 401, 'unauthorized', 'Unauthorized'],
    [
      'of no known form',
      { authorization: 'Bearer nonsense' },
      401,
      'invalid-provisioning-key',
      'Invalid provisioning key',
    ],
    [
      'unknown',
      { authorization: `Bearer prov_00000000-0000-4000-8000-000000000000_${'A'.repeat(43)}` },
      401,
      'invalid-provisioning-key',
      'Invalid provisioning key',
    ],
    [
      'unknown of the legacy form',
      { authorization: `Bearer ${'0'.repeat(64)}` },
      401,
      'invalid-provisioning-key',
      'Invalid provisioning key',
    ],
  ];
  it.each(cases)('401 for %s; only the refusal is written', async (_, headers, status, code, title) => {
    const before = await counts(berth);
    const reply = await call('POST /api/v1/device/register', { headers, body: newDevice(), ip: '203.0.113.1' });
    expect(reply).toMatchObject({ status, body: { code, error: title, title } });
    expect(reply.body.message).toBe(reply.body.detail);
    expect(reply.headers['www-authenticate']).toBe('Bearer');
    expect(await counts(berth)).toEqual(before);
  });

  it('401 is the same for a wrong secret and for an unknown id', async () => {
    const wrong = await register(`${key.key.slice(0, -1)}${key.key.endsWith('A') ? 'B' : 'A'}`, newDevice());
    const unknown = await register(`prov_00000000-0000-4000-8000-000000000000_${'A'.repeat(43)}`, newDevice());
    const alike = ({ requestId: _, ...rest }: Record<string, unknown>) => rest;
    expect(alike(wrong.body)).toEqual(alike(unknown.body));
  });

  it.each([
    ['Bearer', (k: string) => ({ authorization: `Bearer ${k}` })],
    ['bearer in lower case', (k: string) => ({ authorization: `bearer ${k}` })],
    ['no scheme', (k: string) => ({ authorization: k })],
    ['its own header', (k: string) => ({ 'x-provisioning-key': k })],
    [
      'its own header beside another credential',
      (k: string) => ({ 'x-provisioning-key': k, authorization: 'Basic x' }),
    ],
  ])('is accepted with %s', async (_, headers) => {
    const reply = await call('POST /api/v1/device/register', { headers: headers(key.key), body: newDevice() });
    expect(reply.status).toBe(200);
  });

  it('200 for a key of an older pepper, which is stored under the new one', async () => {
    const device = newDevice();
    const first = await register(key.key, device);
    const { PEPPER } = await import('../support/berth.ts');
    setEnv({ BERTH_PEPPER: `2:${'n'.repeat(40)},1:${PEPPER}` });
    const again = await register(key.key, device);
    expect(again.text).toBe(first.text);
    const fresh = await register(key.key, newDevice());
    expect(fresh.status).toBe(200);
    const [row] = await berth.sql('select key_hash from provisioning_keys where id = $1', [key.id]);
    expect(row?.key_hash).toMatch(/^2\$/);
    const [stored] = await berth.sql('select device_api_key_hash, mqtt_password_salt from devices where uuid = $1', [
      device.uuid,
    ]);
    expect(stored?.device_api_key_hash).toMatch(/^2\$/);
    expect(stored?.mqtt_password_salt).toMatch(/^1\$/);
    // Generation 1 is gone: the password can't be derived again, so the device gets a new one that works.
    setEnv({ BERTH_PEPPER: `2:${'n'.repeat(40)}` });
    const renewed = await register(key.key, device);
    expect(renewed.status).toBe(200);
    expect(renewed.body.mqtt.password).not.toBe(first.body.mqtt.password);
    const [user] = await berth.sql('select password_hash from mqtt_users where username = $1', [
      renewed.body.mqtt.username,
    ]);
    expect(await verifyMqttPassword(renewed.body.mqtt.password, user?.password_hash)).toBe(true);
    expect((await register(key.key, device)).text).toBe(renewed.text);
  });
});

describe('bad input', () => {
  const long = 'x'.repeat(300);
  const cases: [string, unknown, string, string[]][] = [
    ['no body', undefined, 'missing-fields', ['uuid', 'deviceName', 'deviceType', 'deviceApiKey']],
    ['an empty object', {}, 'missing-fields', ['uuid', 'deviceName', 'deviceType', 'deviceApiKey']],
    ['an empty body', '', 'missing-fields', ['uuid', 'deviceName', 'deviceType', 'deviceApiKey']],
    ['malformed JSON', '{"uuid": ', 'malformed-json', []],
    ['an array', [], 'invalid-request', ['']],
    ['a string', '"uuid"', 'invalid-request', ['']],
    ['17 KB', newDevice({ surplus: 'x'.repeat(17 * 1024) }), 'body-too-large', []],
    ['10 MB', newDevice({ surplus: 'x'.repeat(10 * 1024 * 1024) }), 'body-too-large', []],
    ['uuid missing', newDevice({ uuid: undefined }), 'missing-fields', ['uuid']],
    ['uuid a number', newDevice({ uuid: 7 }), 'invalid-request', ['uuid']],
    ['uuid empty', newDevice({ uuid: '' }), 'invalid-request', ['uuid']],
    ...[
      '#',
      '+',
      'a/b',
      '../x',
      '..',
      'a b',
      'ü',
      'a\0',
      '{44faab1a-6b5e-4a53-8f0c-0d8c8b1e4f11}',
      'y'.repeat(256),
    ].map((uuid): [string, unknown, string, string[]] => [
      `uuid ${JSON.stringify(uuid).slice(0, 20)}`,
      newDevice({ uuid }),
      'invalid-request',
      ['uuid'],
    ]),
    ...['deviceName', 'deviceType', 'deviceApiKey'].flatMap((field): [string, unknown, string, string[]][] => [
      [`${field} missing`, newDevice({ [field]: undefined }), 'missing-fields', [field]],
      [`${field} empty`, newDevice({ [field]: '' }), 'missing-fields', [field]],
      [`${field} null`, newDevice({ [field]: null }), 'missing-fields', [field]],
      [`${field} an object`, newDevice({ [field]: { a: 1 } }), 'invalid-request', [field]],
      [`${field} a number`, newDevice({ [field]: 5 }), 'invalid-request', [field]],
      [`${field} over-long`, newDevice({ [field]: long }), 'invalid-request', [field]],
      [`${field} with NUL`, newDevice({ [field]: 'a\0b' }), 'invalid-request', [field]],
      [`${field} with a lone surrogate`, newDevice({ [field]: 'a\ud800' }), 'invalid-request', [field]],
    ]),
    ...['macAddress', 'osVersion', 'supervisorVersion', 'applicationId'].flatMap(
      (field): [string, unknown, string, string[]][] => [
        [`${field} an object`, newDevice({ [field]: {} }), 'invalid-request', [field]],
        [`${field} over-long`, newDevice({ [field]: long }), 'invalid-request', [field]],
        [`${field} with NUL`, newDevice({ [field]: '\0' }), 'invalid-request', [field]],
      ],
    ),
  ];
  it.each(cases)('%s', async (_, body, code, paths) => {
    const before = await counts(berth);
    const reply = await register(key.key, body);
    expect(reply.body).toMatchObject({ code, detail: expect.any(String), requestId: expect.any(String) });
    expect(reply.status).toBe(code === 'body-too-large' ? 413 : 400);
    expect((reply.body.errors ?? []).map(({ path }: { path: string }) => path)).toEqual(paths);
    expect(reply.headers['content-type']).toBe('application/problem+json');
    if (code === 'missing-fields') expect(reply.body.error).toBe('Missing required fields');
    expect(await counts(berth)).toEqual(before);
  });

  it.each([
    ['7 characters', 'seven77'],
    ['a leading blank', ' device-key'],
    ['a trailing tab', 'device-key\t'],
    ['a line break', 'device\nkey'],
    ['a letter outside ASCII', 'schlüssel'],
  ])('400 invalid-request: a deviceApiKey with %s', async (_, deviceApiKey) => {
    const before = await counts(berth);
    const reply = await register(key.key, newDevice({ deviceApiKey }));
    expect(reply).toMatchObject({ status: 400, body: { code: 'invalid-request', errors: [{ path: 'deviceApiKey' }] } });
    expect(await counts(berth)).toEqual(before);
  });

  it.each(['8-digits', 'inner blank ok', '!"#$%&\'()*+,-./:;<=>?@[]^_`{|}~'])(
    '200: deviceApiKey %s, also in a header',
    async (deviceApiKey) => {
      const device = newDevice({ deviceApiKey });
      expect((await register(key.key, device)).status).toBe(200);
      const headers = { 'x-device-api-key': deviceApiKey };
      expect((await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers })).status).toBe(200);
    },
  );

  it('DEVICE_KEY_MIN_LENGTH sets the least length: 4 for an old fleet, 32 for a strict one', async () => {
    const four = newDevice({ deviceApiKey: '1234' });
    try {
      setEnv({ DEVICE_KEY_MIN_LENGTH: '4' });
      expect((await register(key.key, four)).status).toBe(200);
      expect((await register(key.key, newDevice({ deviceApiKey: '123' }))).status).toBe(400);
      setEnv({ DEVICE_KEY_MIN_LENGTH: '32' });
      const reply = await register(key.key, newDevice({ deviceApiKey: 'k'.repeat(31) }));
      expect(reply.body.errors).toEqual([{ path: 'deviceApiKey', message: 'must have at least 32 characters' }]);
    } finally {
      setEnv({});
    }
  });

  it('400 comes before 401: also without a key', async () => {
    expect(await call('POST /api/v1/device/register', { body: {} })).toMatchObject({ status: 400 });
  });

  it('__proto__ is ignored like any unknown field', async () => {
    const device = newDevice();
    const text = JSON.stringify(device).replace('{', '{"__proto__": {"deviceName": "x"}, ');
    const { status, body } = await register(key.key, text);
    expect(status).toBe(200);
    expect(body.deviceName).toBe('Pump 7');
  });

  it('optional fields that are empty or null count as absent', async () => {
    const device = newDevice({ macAddress: '', osVersion: null, applicationId: null });
    const { status, body } = await register(key.key, device);
    expect(status).toBe(200);
    expect(body).not.toHaveProperty('applicationId');
  });
});

describe('a body is read', () => {
  const device = () => newDevice();
  it.each([
    ['as JSON under curl’s form content type, base64', JSON.stringify, 'application/x-www-form-urlencoded', true],
    ['as JSON under text/plain', JSON.stringify, 'text/plain', false],
    [
      'as a real form',
      (d: object) => new URLSearchParams(d as Record<string, string>).toString(),
      'application/x-www-form-urlencoded',
      true,
    ],
  ])('%s', async (_, encode, contentType, base64) => {
    const one = device();
    const reply = await call('POST /api/v1/device/register', {
      headers: { authorization: `Bearer ${key.key}`, 'content-type': contentType },
      body: encode(one),
      base64,
    });
    expect(reply).toMatchObject({ status: 200, body: { uuid: one.uuid } });
  });
});

describe('races', () => {
  it('50 concurrent first registrations of one device: one row, 50 identical replies', async () => {
    const device = newDevice();
    const before = await counts(berth);
    const replies = await Promise.all(Array.from({ length: 50 }, () => register(key.key, device)));
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
    const after = await counts(berth);
    expect(after.devices - before.devices).toBe(1);
    expect(after.used - before.used).toBe(1);
  });
});
