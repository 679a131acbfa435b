import type { Context } from '../context.ts';
import { sameSecret } from '../crypto/compare.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { isBcrypt, verifyBcrypt } from '../crypto/legacy-hash.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { authenticationFailed } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { type Counter, checkNotFull, countUpTo, secondsBlocked, tooMany } from './refusal-counts.ts';
import { REFUSAL_LIMIT } from './refuse.ts';

/** blocked_seconds: {@link secondsBlockedByGuesses}. */
type StoredKey = { id: number; uuid: string; device_api_key_hash: string | null; blocked_seconds: number | null };

/** Wrong keys for one device in 15 minutes, from all addresses. After them, the correct key is refused too. */
const GUESS_LIMIT = 100;
const guesses = (uuid: string): Counter => ({ sourceIp: '', reason: 'wrong-device-key', subject: uuid });

/** SQL: for how many seconds no key of this device is accepted, because too many were wrong. NULL: keys are accepted. */
export function secondsBlockedByGuesses(sql: Sql, uuid: string): Fragment {
  return secondsBlocked(sql, guesses(uuid), GUESS_LIMIT);
}

/**
 * Whether `key` is this device's. A hash by the legacy service or under an older pepper is replaced, so that the slow
 * comparison happens once. With LEGACY_HASHES=keep a hash by the legacy service stays.
 *
 * @throws Problem `too-many-requests` after too many wrong keys for this device; when the comparison would be slow, already
 *   after 20 from this address
 */
export async function verifyDeviceKey(ctx: Context, key: string, device: StoredKey): Promise<boolean> {
  const stored = device.device_api_key_hash;
  if (device.blocked_seconds)
    throw tooMany(device.blocked_seconds, 'Too many wrong keys for this device. Wait for Retry-After.');
  if (!stored) return false;
  const hashes = hashCandidates(settings().peppers, 'device-key', key);
  if (!(await isKeyOf(ctx, key, hashes, stored, device.uuid))) {
    await countUpTo(ctx, guesses(device.uuid), GUESS_LIMIT);
    return false;
  }
  const current = hashes[0] as string;
  if (stored === current || (isBcrypt(stored) && settings().keepLegacyHashes)) return true;
  await query(
    ctx,
    (sql) => sql`
      update devices set device_api_key_hash = ${current}, modified_at = berth_now()
      where id = ${device.id} and device_api_key_hash = ${stored}`,
  );
  return true;
}

async function isKeyOf(ctx: Context, key: string, hashes: string[], stored: string, uuid: string): Promise<boolean> {
  if (isBcrypt(stored)) {
    const refusals = { sourceIp: ctx.sourceIp, reason: authenticationFailed.code, subject: uuid };
    await checkNotFull(ctx, refusals, REFUSAL_LIMIT);
    return verifyBcrypt(key, stored);
  }
  // Compare with every hash, so that the time does not reveal which one matched.
  return hashes.map((hash) => sameSecret(hash, stored)).includes(true);
}
