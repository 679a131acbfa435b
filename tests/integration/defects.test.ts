import { createHash } from 'node:crypto';
import { hash } from 'bcryptjs';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { call } from '../support/api.ts';
import { addBroker, type Berth, counts, issueKey, newDevice, register, startBerth } from '../support/berth.ts';

/** What was wrong with the legacy service, by the numbers of its list: a promise each to break no more. */
let berth: Berth;
let broker: number;
beforeAll(async () => {
  berth = await startBerth();
  broker = await addBroker(berth, { is_default: true });
});
afterAll(() => berth.stop());
beforeEach(async () => {
  await berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events');
  await berth.sql('update mqtt_broker_config set is_active = true, use_tls = false, client_cert = null');
});

const storedPassword = async (username: string) =>
  (await berth.sql('select password_hash from mqtt_users where username = $1 and is_active', [username]))[0]
    ?.password_hash;

it('1: 50 concurrent registrations on a key for 10: exactly 10 of each, 40 times 401', async () => {
  const { key } = await issueKey({ maxDevices: 10 });
  const replies = await Promise.all(Array.from({ length: 50 }, () => register(key, newDevice())));
  const statuses = replies.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(10);
  expect(statuses.filter((status) => status === 401)).toHaveLength(40);
  expect(await counts(berth)).toEqual({ devices: 10, users: 10, acls: 10, events: 10, used: 10 });
});

it('2: 10 concurrent first registrations of one uuid: one row, 10 times the same credentials, and they work', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  const replies = await Promise.all(Array.from({ length: 10 }, () => register(key, device)));
  expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
  const { username, password } = replies[0]?.body.mqtt ?? {};
  expect(await verifyMqttPassword(password, await storedPassword(username))).toBe(true);
  expect(await counts(berth)).toEqual({ devices: 1, users: 1, acls: 1, events: 1, used: 1 });
});

it('3: reply lost: the retry gets the same answer', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  expect((await register(key, device)).text).toBe((await register(key, device)).text);
});

it('4: device deleted, its user left behind, registers again: the password works', async () => {
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

it('5: a deactivated device is refused by key exchange', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  await register(key, device);
  await berth.sql('update devices set is_active = false');
  const headers = { authorization: `Bearer ${device.deviceApiKey}` };
  const body = { deviceApiKey: device.deviceApiKey };
  expect(await call(`POST /api/v1/device/${device.uuid}/key-exchange`, { headers, body })).toMatchObject({
    status: 403,
  });
});

it.each(['devices', 'mqtt_users', 'mqtt_acls', 'device_events'])(
  '6: a failure in the middle (%s) leaves nothing behind, not even a used place',
  async (table) => {
    const { key } = await issueKey();
    const device = newDevice();
    await berth.sql(
      `create or replace function fail() returns trigger language plpgsql as $$ begin raise exception 'in the middle'; end $$`,
    );
    await berth.sql(`create trigger fail before insert on ${table} for each row execute function fail()`);
    try {
      expect(await register(key, device)).toMatchObject({ status: 500, body: { code: 'internal' } });
    } finally {
      await berth.sql(`drop trigger fail on ${table}`);
    }
    expect(await counts(berth)).toEqual({ devices: 0, users: 0, acls: 0, events: 0, used: 0 });
    expect((await register(key, device)).status).toBe(200);
  },
);

it('7: a refusal is recorded without a device row to refer to', async () => {
  const device = newDevice();
  await register('nonsense', device);
  const events = await berth.sql('select device_uuid, reason from device_events');
  expect(events).toEqual([{ device_uuid: device.uuid, reason: 'invalid-provisioning-key' }]);
});

it('8: no table needs a calendar', async () => {
  const partitioned = await berth.sql(`select relname from pg_class where relkind = 'p'`);
  expect(partitioned).toEqual([]);
});

it('9: a wrong key costs one lookup, however many hashes there are to compare it with', async () => {
  // Comparing with all of these takes longer than a request may: the answer would be 503.
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

it('10: past the limit an address gets 429, correct keys pass', async () => {
  const { key } = await issueKey();
  for (let i = 0; i < 21; i++) await register('nonsense', newDevice());
  expect((await register('nonsense', newDevice())).status).toBe(429);
  expect((await register(key, newDevice())).status).toBe(200);
});

it('13: an inactive default is skipped, and no half of a certificate pair is handed out', async () => {
  const { key } = await issueKey();
  await berth.sql(
    `update mqtt_broker_config set client_cert = 'CERT', client_key = 'KEY', ca_cert = 'CA' where id = $1`,
    [broker],
  );
  const { body, text } = await register(key, newDevice());
  expect(body.mqtt.brokerConfig).toMatchObject({ caCert: 'CA' });
  expect(body.mqtt.brokerConfig).not.toHaveProperty('clientCert');
  expect(text).not.toContain('KEY');
  await berth.sql('update mqtt_broker_config set is_active = false');
  expect(await register(key, newDevice())).toMatchObject({ status: 503, body: { code: 'no-broker-available' } });
});

it('14: one spelling of the uuid throughout', async () => {
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

it('15: the whole device key counts, past bcrypt’s 72 bytes too', async () => {
  const { key } = await issueKey();
  const start = 'k'.repeat(72);
  const device = newDevice({ deviceApiKey: `${start}AAA` });
  await register(key, device);
  expect((await register(key, { ...device, deviceApiKey: `${start}BBB` })).status).toBe(409);
  await berth.sql('update devices set device_api_key_hash = $1', [await hash(device.deviceApiKey as string, 4)]);
  expect((await register(key, { ...device, deviceApiKey: `${start}BBB` })).status).toBe(409);
});

it('16: a name that is an object is 400 and names the field, in our own words', async () => {
  const { key } = await issueKey();
  const { status, body } = await register(key, newDevice({ deviceName: { a: 1 } }));
  expect(status).toBe(400);
  expect(body.errors).toEqual([{ path: 'deviceName', message: 'must be a string' }]);
});

it('18: the limit goes by the gateway’s source address, not by X-Forwarded-For', async () => {
  const attempt = (i: number) =>
    call('POST /api/v1/device/register', {
      headers: { authorization: 'Bearer nonsense', 'x-forwarded-for': `10.0.0.${i}` },
      body: newDevice(),
    });
  for (let i = 0; i < 20; i++) await attempt(i);
  expect((await attempt(99)).status).toBe(429);
});

it('19: each request has an id of its own, in body and header', async () => {
  const replies = await Promise.all([register('nonsense', newDevice()), register('nonsense', newDevice())]);
  const ids = replies.map(({ body }) => body.requestId);
  expect(new Set(ids).size).toBe(2);
  expect(replies.map(({ headers }) => headers['x-request-id'])).toEqual(ids);
});

it('the key is hashed with the pepper: its plain SHA-256 is not in the database', async () => {
  const { key } = await issueKey();
  const [row] = await berth.sql('select key_hash from provisioning_keys');
  const plain = createHash('sha256').update(key);
  expect(row?.key_hash).not.toContain(plain.digest('base64url'));
});
