import { randomBytes } from 'node:crypto';
import { hash } from 'bcryptjs';
import { beforeEach, expect, it } from 'vitest';
import { hashSecret } from '../../lib/crypto/hash.ts';
import { isBcrypt } from '../../lib/crypto/legacy-hash.ts';
import { verifyDeviceKey } from '../../lib/devices/verify-key.ts';
import { findLegacyKey } from '../../lib/provisioning-keys/find-legacy.ts';
import { settings } from '../../lib/settings/settings.ts';
import { call } from '../support/api.ts';
import { bearer, newDevice, register, setEnv, useBerth } from '../support/berth.ts';
import { contextFor } from '../support/bulk.ts';

/** The replacement of a legacy hash on first use: which rows it writes. */
const berth = useBerth();
beforeEach(() => {
  setEnv({});
  return berth.sql('truncate devices, provisioning_keys, refusal_counts, device_events cascade');
});

const newKey = () => randomBytes(32).toString('hex');
const addKey = (keyHash: string, columns: Record<string, string> = {}) => {
  const row = { fleet_id: `'old'`, expires_at: `now() + interval '1 day'`, ...columns };
  return berth.sql(
    `insert into provisioning_keys (key_hash, ${Object.keys(row)}) values ($1, ${Object.values(row)}) returning id`,
    [keyHash],
  );
};
const keyHashes = () => berth.sql('select is_active, key_hash from provisioning_keys order by is_active');

it('a device’s legacy hash is replaced in its row only, also if the row was copied', async () => {
  const deviceKey = newKey();
  const legacyHash = await hash(deviceKey, 4);
  for (const uuid of ['original', 'copy']) {
    await berth.sql('insert into devices (uuid, device_api_key_hash) values ($1, $2)', [uuid, legacyHash]);
  }
  await call('GET /api/v1/device/original/mqtt', { headers: bearer(deviceKey) });
  const stored = await berth.sql('select uuid, device_api_key_hash as hash from devices order by uuid');
  expect(stored.map(({ uuid, hash }) => [uuid, isBcrypt(hash)])).toEqual([
    ['copy', true],
    ['original', false],
  ]);
});

it('a device’s hash that changed during the comparison stays', async () => {
  const deviceKey = newKey();
  const [device] = await berth.sql(
    `insert into devices (uuid, device_api_key_hash) values ('d', 'changed') returning id`,
  );
  const asRead = { id: device?.id, uuid: 'd', device_api_key_hash: await hash(deviceKey, 4), blocked_seconds: null };
  expect(await verifyDeviceKey(contextFor(5_000), deviceKey, asRead)).toBe(true);
  expect(await berth.sql('select device_api_key_hash as hash from devices')).toEqual([{ hash: 'changed' }]);
});

it('a provisioning key’s legacy hash is replaced in its row only, also if the row was copied', async () => {
  const key = newKey();
  const legacyHash = await hash(key, 4);
  await addKey(legacyHash);
  await addKey(legacyHash, { is_active: 'false' });
  expect((await register(key, newDevice())).status).toBe(200);
  expect((await keyHashes()).map(({ is_active, key_hash }) => [is_active, isBcrypt(key_hash)])).toEqual([
    [false, true],
    [true, false],
  ]);
});

it('a provisioning key’s hash that changed during the comparison stays', async () => {
  const key = newKey();
  await addKey(await hash(key, 4));
  const found = await findLegacyKey(contextFor(5_000), key, async (compare) => {
    const row = await compare();
    await berth.sql(`update provisioning_keys set key_hash = 'changed'`);
    return row;
  });
  expect(found?.key_hash).toBe(hashSecret(settings().peppers[0], 'provisioning-key', key));
  expect(await keyHashes()).toEqual([{ is_active: true, key_hash: 'changed' }]);
});

it('401 invalid-provisioning-key: an expired legacy key is compared with no hash', async () => {
  const key = newKey();
  await addKey(await hash(key, 4), { expires_at: `now() - interval '1 day'` });
  expect(await register(key, newDevice())).toMatchObject({ status: 401, body: { code: 'invalid-provisioning-key' } });
  expect((await keyHashes()).map(({ key_hash }) => isBcrypt(key_hash))).toEqual([true]);
});

it('keep: a device registers with a legacy key whose row was copied and then revoked', async () => {
  setEnv({ LEGACY_HASHES: 'keep' });
  const key = newKey();
  const legacyHash = await hash(key, 4);
  await addKey(legacyHash);
  await addKey(legacyHash, { is_active: 'false', fleet_id: `'copied'` });
  expect(await register(key, newDevice())).toMatchObject({ status: 200, body: { fleetId: 'old' } });
});
