import type { Context } from '../context.ts';
import { sameSecret } from '../crypto/compare.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { isBcrypt, verifyBcrypt } from '../crypto/legacy-hash.ts';
import { query } from '../database/db.ts';
import { authenticationFailed } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { checkNotFull } from './refusal-counts.ts';
import { REFUSAL_LIMIT } from './refuse.ts';

type StoredKey = { id: number; uuid: string; device_api_key_hash: string | null };

/**
 * Whether `key` is this device's. A hash by the legacy service or under an older pepper is replaced, so that the slow
 * comparison happens once. With LEGACY_HASHES=keep a hash by the legacy service stays.
 *
 * @throws Problem `too-many-requests` when the comparison would be slow and too many keys from this address were wrong
 */
export async function verifyDeviceKey(ctx: Context, key: string, device: StoredKey): Promise<boolean> {
  const stored = device.device_api_key_hash;
  if (!stored) return false;
  const hashes = hashCandidates(settings().peppers, 'device-key', key);
  if (isBcrypt(stored)) {
    const counter = { sourceIp: ctx.sourceIp, reason: authenticationFailed.code, subject: device.uuid };
    await checkNotFull(ctx, counter, REFUSAL_LIMIT);
    if (!(await verifyBcrypt(key, stored))) return false;
    if (settings().keepLegacyHashes) return true;
  } else {
    // Compare with every hash, so that the time does not reveal which one matched.
    const matches = hashes.map((hash) => sameSecret(hash, stored));
    if (!matches.includes(true)) return false;
  }
  const current = hashes[0] as string;
  if (stored === current) return true;
  await query(
    ctx,
    (sql) => sql`
      update devices set device_api_key_hash = ${current}, modified_at = berth_now()
      where id = ${device.id} and device_api_key_hash = ${stored}`,
  );
  return true;
}
