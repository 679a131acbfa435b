import { pbkdf2, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { isBcrypt, verifyBcrypt } from './legacy-hash.ts';

const pbkdf2Async = promisify(pbkdf2);

/** As `mosquitto_passwd` writes them. The password has 256 random bits: more iterations would add nothing. */
const PBKDF2 = { digest: 'sha512', iterations: 100, saltBytes: 12, keyBytes: 64 };
/** The lowest cost that bcrypt has, for the same reason. */
const BCRYPT_COST = 4;

/**
 * The hash of an MQTT password that a broker sees, in a form that mosquitto-go-auth, EMQX and VerneMQ verify:
 * `PBKDF2$sha512$100$<salt>$<key>` or bcrypt. Salt (12 random bytes) and key (64 bytes) are base64, as in the
 * `$7$100$<salt>$<key>` of a Mosquitto password file.
 */
export async function hashMqttPassword(password: string, form: 'pbkdf2' | 'bcrypt'): Promise<string> {
  if (form === 'bcrypt') return (await import('./bcrypt.ts')).hash(password, BCRYPT_COST);
  const salt = randomBytes(PBKDF2.saltBytes);
  // Synchronous: it takes 50 µs. A thread would cost more than that, and an instance serves one request at a time.
  const key = pbkdf2Sync(password, salt, PBKDF2.iterations, PBKDF2.keyBytes, PBKDF2.digest);
  return `PBKDF2$${PBKDF2.digest}$${PBKDF2.iterations}$${salt.toString('base64')}$${key.toString('base64')}`;
}

/** Whether `hash`, a `mqtt_users.password_hash` in PBKDF2 or bcrypt form, is of `password`. */
export async function verifyMqttPassword(password: string, hash: string): Promise<boolean> {
  if (isBcrypt(hash)) return verifyBcrypt(password, hash);
  const [form, digest, iterations, salt, key] = hash.split('$');
  if (form !== 'PBKDF2' || !digest || !iterations || !salt || !key) return false;
  const stored = Buffer.from(key, 'base64');
  const saltBytes = Buffer.from(salt, 'base64');
  return timingSafeEqual(stored, await pbkdf2Async(password, saltBytes, Number(iterations), stored.length, digest));
}
