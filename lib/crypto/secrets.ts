import {
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  pbkdf2,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { promisify } from 'node:util';
import type { Pepper } from '../settings/settings.ts';

const pbkdf2Async = promisify(pbkdf2);

/** bcrypt reads 72 bytes and ignores the rest; a longer key can't be told from its prefix. */
const BCRYPT_MAX_BYTES = 72;
const LEGACY_BCRYPT_COST = 10;
/** As `mosquitto_passwd` writes them. The password has 256 random bits: more iterations would add nothing. */
const PBKDF2 = { digest: 'sha512', iterations: 100, saltBytes: 12, keyBytes: 64 };

type Label = 'device-key' | 'provisioning-key' | 'mqtt-password';

function hmac(pepper: Pepper, label: Label, secret: string): Buffer {
  return createHmac('sha256', pepper.key).update(label).update(secret).digest();
}

/**
 * A secret as it is stored: `generation$HMAC-SHA256(pepper, label ‖ secret)`, base64url.
 * Deterministic, so that a statement can compare it.
 */
export function hashSecret(pepper: Pepper, label: 'device-key' | 'provisioning-key', secret: string): string {
  return `${pepper.generation}$${hmac(pepper, label, secret).toString('base64url')}`;
}

/** The stored forms that `secret` may have: one per accepted pepper, the current one first. */
export function hashCandidates(
  peppers: readonly Pepper[],
  label: 'device-key' | 'provisioning-key',
  secret: string,
): string[] {
  return peppers.map((pepper) => hashSecret(pepper, label, secret));
}

/** A new salt for {@link deriveMqttPassword}: `generation$22 characters`. */
export function newMqttSalt(pepper: Pepper): string {
  return `${pepper.generation}$${randomBytes(16).toString('base64url')}`;
}

/**
 * The MQTT password of a device: HKDF-SHA256 (RFC 5869) over HMAC(pepper, "mqtt-password" ‖ device key)
 * and the salt on the device's row. The stored hash of the device key is made with another label, so a
 * leaked database yields no password.
 *
 * @returns 43 characters base64url, or undefined when the salt's generation of the pepper is gone
 */
export function deriveMqttPassword(peppers: readonly Pepper[], deviceKey: string, salt: string): string | undefined {
  const pepper = peppers.find(({ generation }) => salt.startsWith(`${generation}$`));
  if (!pepper) return undefined;
  const input = createSecretKey(hmac(pepper, 'mqtt-password', deviceKey));
  const key = hkdfSync('sha256', input, salt, 'berth mqtt password', 32);
  return Buffer.from(key).toString('base64url');
}

/**
 * What a broker sees of an MQTT password, in a form that mosquitto-go-auth, EMQX and VerneMQ verify:
 * `PBKDF2$sha512$100$<salt>$<key>` (12 random bytes and 64 bytes, both base64: a Mosquitto password
 * file's `$7$100$<salt>$<key>` has the same two), or bcrypt.
 */
export async function hashMqttPassword(password: string, form: 'pbkdf2' | 'bcrypt'): Promise<string> {
  // Cost 4 is bcrypt's least: there is nothing to stretch in 256 random bits.
  if (form === 'bcrypt') return (await import('./bcrypt.ts')).hash(password, 4);
  const salt = randomBytes(PBKDF2.saltBytes);
  // 50 µs. Handing it to a thread costs more than that again, and an instance has nothing else to do meanwhile.
  const key = pbkdf2Sync(password, salt, PBKDF2.iterations, PBKDF2.keyBytes, PBKDF2.digest);
  return `PBKDF2$${PBKDF2.digest}$${PBKDF2.iterations}$${salt.toString('base64')}$${key.toString('base64')}`;
}

/**
 * A device key as the legacy service stores it, which it can go on with.
 * @returns undefined for a key over 72 bytes: bcrypt would ignore the rest of it
 */
export async function hashAsLegacy(deviceKey: string): Promise<string | undefined> {
  if (Buffer.byteLength(deviceKey) > BCRYPT_MAX_BYTES) return undefined;
  return (await import('./bcrypt.ts')).hash(deviceKey, LEGACY_BCRYPT_COST);
}

/** Whether `password` is the one behind a `mqtt_users.password_hash`, PBKDF2 or bcrypt. */
export async function verifyMqttPassword(password: string, hash: string): Promise<boolean> {
  if (isBcrypt(hash)) return verifyBcrypt(password, hash);
  const [form, digest, iterations, salt, key] = hash.split('$');
  if (form !== 'PBKDF2' || !digest || !iterations || !salt || !key) return false;
  const stored = Buffer.from(key, 'base64');
  const saltBytes = Buffer.from(salt, 'base64');
  return timingSafeEqual(stored, await pbkdf2Async(password, saltBytes, Number(iterations), stored.length, digest));
}

/** Legacy hashes: `$2a$`, `$2b$` or `$2y$`. */
export function isBcrypt(hash: string): boolean {
  return /^\$2[aby]\$/.test(hash);
}

/** Compares with a legacy hash, some 60 ms. Secrets over 72 bytes are refused: bcrypt would ignore the rest. */
export async function verifyBcrypt(secret: string, hash: string): Promise<boolean> {
  if (Buffer.byteLength(secret) > BCRYPT_MAX_BYTES) return false;
  return (await import('./bcrypt.ts')).compare(secret, hash);
}

/** Compares two strings in time that doesn't depend on where they differ. */
export function sameSecret(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => createHash('sha256').update(text).digest()) as [Buffer, Buffer];
  return timingSafeEqual(left, right);
}

/** SHA-256 in hex: how ADMIN_TOKEN_HASH is made. */
export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
