import { createSecretKey, hkdfSync, randomBytes } from 'node:crypto';
import type { Pepper } from '../settings/settings.ts';
import { hmacSecret } from './hash.ts';

/** A new salt for {@link deriveMqttPassword}: `generation$22 characters`. */
export function newMqttSalt(pepper: Pepper): string {
  return `${pepper.generation}$${randomBytes(16).toString('base64url')}`;
}

/**
 * The MQTT password of a device: HKDF-SHA256 (RFC 5869) over HMAC(pepper, "mqtt-password" ‖ device key)
 * and the salt on the device's row. The stored hash of the device key has another label. Therefore a
 * leaked database yields no password.
 *
 * @returns 43 characters base64url, or undefined when the pepper of the salt's generation is not in the settings
 */
export function deriveMqttPassword(peppers: readonly Pepper[], deviceKey: string, salt: string): string | undefined {
  const pepper = peppers.find(({ generation }) => salt.startsWith(`${generation}$`));
  if (!pepper) return undefined;
  const input = createSecretKey(hmacSecret(pepper, 'mqtt-password', deviceKey));
  const key = hkdfSync('sha256', input, salt, 'berth mqtt password', 32);
  return Buffer.from(key).toString('base64url');
}
