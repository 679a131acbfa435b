import { createSecretKey } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { hashSecret } from '../../lib/crypto/hash.ts';
import { isBcrypt } from '../../lib/crypto/legacy-hash.ts';
import { call } from '../support/api.ts';
import { type Berth, bearer, newDevice, PEPPER, register, setEnv, startBerth } from '../support/berth.ts';
import { addLegacyRows, createLegacyTables, LEGACY_DEVICE, LEGACY_PROVISIONING_KEY } from '../support/legacy.ts';

/** LEGACY_HASHES=keep: Berth runs in parallel with the legacy service. tests/e2e/adoption.test.ts covers the whole migration. */
let berth: Berth;
beforeAll(async () => {
  berth = await startBerth({
    env: { LEGACY_HASHES: 'keep' },
    prepare: async (sql) => {
      await createLegacyTables(sql);
      await addLegacyRows(sql);
    },
  });
});
afterAll(() => berth.stop());
beforeEach(() => setEnv({ LEGACY_HASHES: 'keep' }));

const keyHash = async () => (await berth.sql('select key_hash from provisioning_keys'))[0]?.key_hash;

it('keep: legacy bcrypt hashes of a provisioning key and a device stay, and a new device gets a bcrypt hash', async () => {
  const device = newDevice();
  expect(await register(LEGACY_PROVISIONING_KEY, device)).toMatchObject({ status: 200 });
  expect(await register(LEGACY_PROVISIONING_KEY, LEGACY_DEVICE)).toMatchObject({ status: 200 });
  expect(isBcrypt(await keyHash())).toBe(true);
  const stored = await berth.sql('select device_api_key_hash as hash from devices');
  expect(stored.map(({ hash }) => isBcrypt(hash))).toEqual([true, true]);
  expect((await register(LEGACY_PROVISIONING_KEY, { ...device, deviceApiKey: 'another-key' })).status).toBe(409);
});

it('keep: a device of the legacy service updates what it says of itself', async () => {
  const body = { ...LEGACY_DEVICE, deviceName: 'New pump', osVersion: 'Linux 6.2', tags: { site: 'bonn' } };
  const reply = await register(LEGACY_PROVISIONING_KEY, body);
  expect(reply).toMatchObject({ status: 200, body: { deviceName: 'New pump' } });
  const stored = await berth.sql('select device_name, os_version, tags from devices where uuid = $1', [body.uuid]);
  expect(stored).toEqual([{ device_name: 'New pump', os_version: 'Linux 6.2', tags: { site: 'bonn' } }]);
  expect((await register(LEGACY_PROVISIONING_KEY, LEGACY_DEVICE)).body.deviceName).toBe(LEGACY_DEVICE.deviceName);
});

it('keep: a device key over 72 bytes is stored as HMAC; 409 for another key with the same first 72 bytes', async () => {
  const device = newDevice({ deviceApiKey: `${'k'.repeat(72)}AAA` });
  expect((await register(LEGACY_PROVISIONING_KEY, device)).status).toBe(200);
  expect((await register(LEGACY_PROVISIONING_KEY, device)).status).toBe(200);
  const other = { ...device, deviceApiKey: `${'k'.repeat(72)}BBB` };
  expect((await register(LEGACY_PROVISIONING_KEY, other)).status).toBe(409);
});

it('200 for a legacy key that matched before, 429 for other keys: the address has too many wrong keys', async () => {
  expect((await register(LEGACY_PROVISIONING_KEY, newDevice())).status).toBe(200);
  for (let i = 0; i < 21; i++) await register('nonsense', newDevice());
  expect((await register('f'.repeat(64), newDevice())).status).toBe(429);
  expect((await register(LEGACY_PROVISIONING_KEY, newDevice())).status).toBe(200);
});

it('401 immediately after revocation: a legacy key that matched before', async () => {
  await berth.sql('truncate device_events, refusal_counts');
  expect((await register(LEGACY_PROVISIONING_KEY, LEGACY_DEVICE)).status).toBe(200);
  await berth.sql('update provisioning_keys set is_active = false');
  expect(await register(LEGACY_PROVISIONING_KEY, newDevice())).toMatchObject({
    status: 401,
    body: { code: 'invalid-provisioning-key' },
  });
  await berth.sql('update provisioning_keys set is_active = true');
});

it('200: another instance replaces the key’s bcrypt hash by an HMAC during the registration', async () => {
  expect((await register(LEGACY_PROVISIONING_KEY, newDevice())).status).toBe(200);
  const [before] = await berth.sql('select key_hash from provisioning_keys');
  const upgraded = hashSecret(
    { generation: '1', key: createSecretKey(PEPPER, 'utf8') },
    'provisioning-key',
    LEGACY_PROVISIONING_KEY,
  );
  // The server waits, because bcrypt blocks this process: the update runs after the row was read, before the claim.
  const upgrading = berth.sql(`select pg_sleep(0.025); update provisioning_keys set key_hash = '${upgraded}'`);
  expect((await register(LEGACY_PROVISIONING_KEY, newDevice())).status).toBe(200);
  await upgrading;
  await berth.sql('update provisioning_keys set key_hash = $1', [before?.key_hash]);
});

it('keep: hashes that another instance has replaced by HMACs keep working and are not reverted to bcrypt', async () => {
  expect((await register(LEGACY_PROVISIONING_KEY, newDevice())).status).toBe(200);
  setEnv({});
  expect((await register(LEGACY_PROVISIONING_KEY, newDevice())).status).toBe(200);
  const headers = bearer(LEGACY_DEVICE.deviceApiKey);
  const route = `GET /api/v1/device/${LEGACY_DEVICE.uuid}/mqtt`;
  expect((await call(route, { headers })).status).toBe(200);
  setEnv({ LEGACY_HASHES: 'keep' });
  expect((await register(LEGACY_PROVISIONING_KEY, newDevice())).status).toBe(200);
  expect((await call(route, { headers })).status).toBe(200);
  expect(isBcrypt(await keyHash())).toBe(false);
  const [device] = await berth.sql('select device_api_key_hash as hash from devices where uuid = $1', [
    LEGACY_DEVICE.uuid,
  ]);
  expect(isBcrypt(device?.hash)).toBe(false);
});
