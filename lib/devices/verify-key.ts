import type { Context } from '../context.ts';
import { sameSecret } from '../crypto/compare.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { isBcrypt, verifyBcrypt } from '../crypto/legacy-hash.ts';
import { query } from '../database/db.ts';
import type { ProblemType } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { mayCompareSlowly } from './refuse.ts';

type StoredKey = { id: number; uuid: string; device_api_key_hash: string | null };

/**
 * Whether `key` is this device's. One stored by the legacy service or under an older pepper is
 * stored anew, so that the slow comparison happens once; with LEGACY_HASHES=keep the legacy service's stays.
 *
 * @param refusal what a wrong key is refused with: its refusals limit the slow comparison
 * @throws Problem `too-many-requests` when the comparison would be slow and too many have failed
 */
export async function verifyDeviceKey(
  ctx: Context,
  key: string,
  device: StoredKey,
  { code }: ProblemType,
): Promise<boolean> {
  const stored = device.device_api_key_hash;
  if (!stored) return false;
  const hashes = hashCandidates(settings().peppers, 'device-key', key);
  const fits = isBcrypt(stored)
    ? (await mayCompareSlowly(ctx, { code, uuid: device.uuid })) && (await verifyBcrypt(key, stored))
    : hashes.map((hash) => sameSecret(hash, stored)).includes(true);
  const current = hashes[0] as string;
  const stays = isBcrypt(stored) && settings().keepLegacyHashes;
  if (fits && stored !== current && !stays) {
    await query(
      ctx,
      (sql) => sql`update devices set device_api_key_hash = ${current}, modified_at = now() at time zone 'utc'
                   where id = ${device.id} and device_api_key_hash = ${stored}`,
    );
  }
  return fits;
}
