import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { hmacSecret } from '../crypto/hash.ts';
import type { Pepper } from '../settings/settings.ts';

/** A new provisioning key, `prov_<id>_<43 characters base64url>`, and the id of its row. */
export type NewKey = { id: string; key: string };

/** A random key. */
export function randomKey(): NewKey {
  return keyOf(randomUUID(), randomBytes(32));
}

/**
 * The key of a request with an `Idempotency-Key`: the same pepper and order give the same key, so that a repeat after a lost
 * reply issues no second one. Nobody can derive it without the pepper.
 * @param order what makes two requests the same: its Idempotency-Key, who sent it, its body
 */
export function keyOfOrder(pepper: Pepper, order: readonly unknown[]): NewKey {
  const secret = hmacSecret(pepper, 'provisioning-key-order', JSON.stringify(order));
  const bytes = createHmac('sha256', secret).update('id').digest();
  // A UUID of version 8 (RFC 9562): made from other data.
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const id = bytes.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  return keyOf(id, createHmac('sha256', secret).update('key').digest());
}

function keyOf(id: string, secret: Buffer): NewKey {
  return { id, key: `prov_${id}_${secret.toString('base64url')}` };
}
