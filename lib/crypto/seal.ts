import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Problem, sealingNotConfigured, unsealingFailed } from '../errors.ts';
import { settings } from '../settings/settings.ts';

/** The place of a sealed value. It cannot be unsealed elsewhere, for example in a copy of the row. */
export type SealedAt = { table: string; id: number; column: string };

const IV_BYTES = 12;

/**
 * Seals a secret with AES-256-GCM under the current BERTH_SEAL_KEY.
 *
 * @returns `generation$iv$ciphertext$tag`, the last three in base64url
 * @throws Problem `sealing-not-configured`
 */
export function seal(secret: string, at: SealedAt): string {
  const [current] = settings().sealKeys;
  if (!current) throw new Problem(sealingNotConfigured);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', current.key, iv).setAAD(associatedData(at));
  const ciphertext = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  const parts = [iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString('base64url'));
  return [current.generation, ...parts].join('$');
}

/**
 * Opens a value of {@link seal} with the key of its generation.
 * @throws Problem `unsealing-failed` when BERTH_SEAL_KEY lacks that key, or the value was not sealed for this place
 */
export function unseal(sealed: string, at: SealedAt): string {
  const [generation, ...parts] = sealed.split('$');
  const found = settings().sealKeys.find((one) => one.generation === generation);
  const [iv, ciphertext, tag] = parts.map((part) => Buffer.from(part, 'base64url'));
  if (!found || !iv || !ciphertext || !tag) throw new Problem(unsealingFailed);
  try {
    const decipher = createDecipheriv('aes-256-gcm', found.key, iv, { authTagLength: 16 })
      .setAAD(associatedData(at))
      .setAuthTag(tag);
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new Problem(unsealingFailed, undefined, { cause });
  }
}

function associatedData({ table, id, column }: SealedAt): Buffer {
  return Buffer.from(`${table}:${id}:${column}`);
}
