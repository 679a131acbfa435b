import { createHash, createHmac } from 'node:crypto';
import { hash } from 'bcryptjs';
import { beforeEach, expect, it } from 'vitest';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { call } from '../support/api.ts';
import { bearer, counts, issueKey, newDevice, PEPPER, register, useBerth, withTrigger } from '../support/berth.ts';

/** One test per defect of the legacy service; the numbers are those of docs/legacy-defects.md. */
const berth = useBerth();
beforeEach(async () => {
  await berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events, refusal_counts');
  await berth.sql('update mqtt_broker_config set is_active = true, use_tls = false, client_cert = null');
});

const storedPassword = async (username: string) =>
  (await berth.sql('select password_hash from mqtt_users where username = $1 and is_active', [username]))[0]
    ?.password_hash;

// Defect 1
it('50 concurrent registrations with a key for 10 devices: 10 × 200 and 10 rows in each table, 40 × 401', async () => {
  const { key } = await issueKey({ maxDevices: 10 });
  const replies = await Promise.all(Array.from({ length: 50 }, () => register(key, newDevice())));
  const statuses = replies.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(10);
  expect(statuses.filter((status) => status === 401)).toHaveLength(40);
  expect(await counts(berth)).toEqual({ devices: 10, users: 10, acls: 10, events: 10, used: 10 });
});

// Defect 2
it('10 concurrent first registrations of one uuid: 10 × 200 with the same working credentials, and one row in each table', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  const replies = await Promise.all(Array.from({ length: 10 }, () => register(key, device)));
  expect(replies.map(({ status }) => status)).toEqual(Array(10).fill(200));
  expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
  const { username, password } = replies[0]?.body.mqtt ?? {};
  expect(await verifyMqttPassword(password, await storedPassword(username))).toBe(true);
  expect(await counts(berth)).toEqual({ devices: 1, users: 1, acls: 1, events: 1, used: 1 });
});

// Defect 3
it('200 replay: a retry after a lost reply gets the identical reply, no quota charged', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  const { text } = await register(key, device);
  expect(await register(key, device)).toMatchObject({ status: 200, text, headers: { 'idempotent-replayed': 'true' } });
  expect(await counts(berth)).toMatchObject({ devices: 1, used: 1 });
});

// Defect 4
it('200: a deleted device registers again while its MQTT user still exists, and its new password works', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  await register(key, device);
  await berth.sql('delete from devices');
  await berth.sql('update mqtt_users set is_active = false, is_superuser = true');
  const { status, body } = await register(key, device);
  expect(status).toBe(200);
  expect(await verifyMqttPassword(body.mqtt.password, await storedPassword(body.mqtt.username))).toBe(true);
  expect(await counts(berth)).toMatchObject({ devices: 1, users: 1, acls: 1 });
  expect((await berth.sql('select is_superuser from mqtt_users'))[0]?.is_superuser).toBe(false);
});

// Defect 5
it('403 device-inactive: key exchange of a deactivated device', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  await register(key, device);
  await berth.sql('update devices set is_active = false');
  const headers = bearer(device.deviceApiKey);
  const body = { deviceApiKey: device.deviceApiKey };
  expect(await call(`POST /api/v1/device/${device.uuid}/key-exchange`, { headers, body })).toMatchObject({
    status: 403,
    body: { code: 'device-inactive' },
  });
});

// Defect 6
it.each(['devices', 'mqtt_users', 'mqtt_acls', 'device_events'])(
  '500 internal: a registration that fails on insert into %s writes no row and charges no quota; the retry works',
  async (table) => {
    const { key } = await issueKey();
    const device = newDevice();
    const reply = await withTrigger(berth, `before insert on ${table}`, `raise exception 'injected'`, () =>
      register(key, device),
    );
    expect(reply).toMatchObject({ status: 500, body: { code: 'internal' } });
    expect(await counts(berth)).toEqual({ devices: 0, users: 0, acls: 0, events: 0, used: 0 });
    expect((await register(key, device)).status).toBe(200);
  },
);

// Defect 7
it('a refused registration is recorded, although its device has no row', async () => {
  const device = newDevice();
  await register('nonsense', device);
  const events = await berth.sql('select device_uuid, reason from device_events');
  expect(events).toEqual([{ device_uuid: device.uuid, reason: 'invalid-provisioning-key' }]);
});

// Defect 8
it('no table is partitioned, so none runs out of partitions', async () => {
  const partitioned = await berth.sql(`select relname from pg_class where relkind = 'p'`);
  expect(partitioned).toEqual([]);
});

// Defect 9
it('401 invalid-provisioning-key: a wrong key costs one lookup, not a comparison with each of 400 legacy hashes', async () => {
  // Comparing with all of these exceeds the time of a request, as the legacy-format key at the end shows (503).
  const legacy = await hash('legacy', 10);
  await berth.sql(
    `insert into provisioning_keys (key_hash, fleet_id, expires_at)
     select $1 || lpad(n::text, 4, '.'), 'old', now() + interval '1 day' from generate_series(1, 400) n`,
    [legacy.slice(0, -4)],
  );
  const { key } = await issueKey();
  const wrong = `${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}`;
  expect(await register(wrong, newDevice())).toMatchObject({ status: 401, body: { code: 'invalid-provisioning-key' } });
  expect(await register('f'.repeat(64), newDevice())).toMatchObject({
    status: 503,
    body: { code: 'key-check-unfinished' },
  });
});

// Defect 10
it('429: an address with too many wrong keys; a correct key from there still gets 200', async () => {
  const { key } = await issueKey();
  for (let i = 0; i < 21; i++) await register('nonsense', newDevice());
  expect((await register('nonsense', newDevice())).status).toBe(429);
  expect((await register(key, newDevice())).status).toBe(200);
});

// Defect 13
it('brokerConfig contains neither client certificate nor client key', async () => {
  const { key } = await issueKey();
  await berth.sql(
    `update mqtt_broker_config set client_cert = 'CLIENT-CERT', client_key = 'CLIENT-KEY', ca_cert = 'CA'`,
  );
  const { body, text } = await register(key, newDevice());
  expect(body.mqtt.brokerConfig).toMatchObject({ caCert: 'CA' });
  expect(body.mqtt.brokerConfig).not.toHaveProperty('clientCert');
  expect(text).not.toContain('CLIENT-CERT');
  expect(text).not.toContain('CLIENT-KEY');
});

// Defect 13
it('503 no-broker-available: an inactive default broker is skipped', async () => {
  const { key } = await issueKey();
  await berth.sql('update mqtt_broker_config set is_active = false');
  expect(await register(key, newDevice())).toMatchObject({ status: 503, body: { code: 'no-broker-available' } });
});

// Defect 14
it('an RFC 4122 uuid is converted to lower case everywhere; braces get 400; without dashes it is another device', async () => {
  const { key } = await issueKey();
  const device = newDevice({ uuid: '44FAAB1A-6B5E-4A53-8F0C-0D8C8B1E4F11' });
  const lower = device.uuid.toLowerCase();
  const { body } = await register(key, device);
  expect(body).toMatchObject({
    uuid: lower,
    mqtt: { username: `device_${lower}`, topics: { publish: [`iot/device/${lower}/#`] } },
  });
  expect((await register(key, { ...device, uuid: lower })).headers['idempotent-replayed']).toBe('true');
  expect((await register(key, { ...device, uuid: `{${lower}}` })).status).toBe(400);
  const dashless = await register(key, { ...device, uuid: lower.replaceAll('-', '') });
  expect(dashless.body.uuid).toBe(lower.replaceAll('-', ''));
  expect(dashless.body.id).not.toBe(body.id);
});

// Defect 15
it('409: a device key that differs only after byte 72', async () => {
  const { key } = await issueKey();
  const start = 'k'.repeat(72);
  const device = newDevice({ deviceApiKey: `${start}AAA` });
  await register(key, device);
  expect((await register(key, { ...device, deviceApiKey: `${start}BBB` })).status).toBe(409);
});

// Defect 15
it('200 for a key of more than 72 bytes with a legacy hash, which holds only 72; from then on the whole key counts', async () => {
  const { key } = await issueKey();
  const start = 'k'.repeat(72);
  const device = newDevice({ deviceApiKey: `${start}AAA` });
  const { uuid } = (await register(key, device)).body;
  await berth.sql('update devices set device_api_key_hash = $1 where uuid = $2', [
    await hash(device.deviceApiKey as string, 4),
    uuid,
  ]);
  expect((await register(key, { ...device, deviceApiKey: `${'k'.repeat(71)}jAAA` })).status).toBe(409);
  expect((await register(key, device)).status).toBe(200);
  expect((await register(key, { ...device, deviceApiKey: `${start}BBB` })).status).toBe(409);
});

// Defect 16
it('400: a deviceName of the wrong type; errors names the field', async () => {
  const { key } = await issueKey();
  const { status, body } = await register(key, newDevice({ deviceName: { a: 1 } }));
  expect(status).toBe(400);
  expect(body.errors).toEqual([{ path: 'deviceName', message: 'must be a string' }]);
});

// Defect 18
it('429: wrong keys are counted by the gateway’s source address, not by X-Forwarded-For', async () => {
  const attempt = (i: number) =>
    call('POST /api/v1/device/register', {
      headers: { ...bearer('nonsense'), 'x-forwarded-for': `10.0.0.${i}` },
      body: newDevice(),
    });
  for (let i = 0; i < 20; i++) await attempt(i);
  expect((await attempt(99)).status).toBe(429);
});

// Defect 19
it('each reply has its own request id, in the body and in x-request-id', async () => {
  const replies = await Promise.all([register('nonsense', newDevice()), register('nonsense', newDevice())]);
  const ids = replies.map(({ body }) => body.requestId);
  expect(new Set(ids).size).toBe(2);
  expect(replies.map(({ headers }) => headers['x-request-id'])).toEqual(ids);
});

it('a provisioning key is stored as HMAC with the pepper, not as plain SHA-256', async () => {
  const { key } = await issueKey();
  const [row] = await berth.sql('select key_hash from provisioning_keys');
  const hmac = createHmac('sha256', PEPPER).update('provisioning-key').update(key);
  expect(row?.key_hash).toBe(`1$${hmac.digest('base64url')}`);
  expect(row?.key_hash).not.toContain(createHash('sha256').update(key).digest('base64url'));
});
