/** bcrypt reads 72 bytes and ignores the rest: it accepts any longer secret with the same beginning. */
const BCRYPT_MAX_BYTES = 72;
const LEGACY_BCRYPT_COST = 10;

/** Whether a stored hash is the legacy service's: `$2a$`, `$2b$` or `$2y$`. */
export function isBcrypt(hash: string): boolean {
  return /^\$2[aby]\$/.test(hash);
}

/**
 * Compares a secret with a bcrypt hash, which takes about 60 ms. As in the legacy service, which made hashes of longer secrets
 * too, only the first 72 bytes count.
 */
export async function verifyBcrypt(secret: string, hash: string): Promise<boolean> {
  return (await import('./bcrypt.ts')).compare(secret, hash);
}

/**
 * Hashes a device key as the legacy service does, so that it accepts the device, too.
 * @returns undefined for a key of more than 72 bytes
 */
export async function hashAsLegacy(deviceKey: string): Promise<string | undefined> {
  if (Buffer.byteLength(deviceKey) > BCRYPT_MAX_BYTES) return undefined;
  return (await import('./bcrypt.ts')).hash(deviceKey, LEGACY_BCRYPT_COST);
}
