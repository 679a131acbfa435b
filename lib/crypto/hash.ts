import { createHash, createHmac } from 'node:crypto';
import type { Pepper } from '../settings/settings.ts';

/** The two kinds of key that are stored as a hash. */
type StoredKey = 'device-key' | 'provisioning-key';

/** SHA-256 in hex: how ADMIN_TOKEN_HASH is made. */
export function sha256Hex(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}

/** HMAC-SHA256(pepper, label ‖ secret). Each use of a secret has its own label, so that one value does not reveal another. */
export function hmacSecret(
  pepper: Pepper,
  label: StoredKey | 'mqtt-password' | 'provisioning-key-order',
  secret: string,
): Buffer {
  return createHmac('sha256', pepper.key).update(label).update(secret).digest();
}

/**
 * The stored form of a key. The same key always has the same form, so a statement can compare it.
 * @returns `generation$hmac`, the HMAC in base64url
 */
export function hashSecret(pepper: Pepper, label: StoredKey, secret: string): string {
  return `${pepper.generation}$${hmacSecret(pepper, label, secret).toString('base64url')}`;
}

/** The stored forms that `secret` may have: one for each accepted pepper, the current pepper first. */
export function hashCandidates(peppers: readonly Pepper[], label: StoredKey, secret: string): string[] {
  return peppers.map((pepper) => hashSecret(pepper, label, secret));
}
