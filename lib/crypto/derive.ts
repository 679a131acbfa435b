import { createSecretKey, hash, hkdfSync, randomBytes } from 'node:crypto';
import type { Pepper } from '../settings/settings.ts';
import { hmacSecret } from './hash.ts';

/** 48 bits: enough to notice another key. Without the pepper they reveal nothing about the key. */
const CHECK_CHARACTERS = 8;

/**
 * A new MQTT password for a device, and the salt with which {@link deriveMqttPassword} derives it again:
 * `generation$22 characters$check`. The check recognises the device key: the legacy service replaces device keys without
 * telling Berth, and the broker would refuse the password that follows from the new one.
 */
export function newMqttPassword(pepper: Pepper, deviceKey: string): { salt: string; password: string } {
  const secret = hmacSecret(pepper, 'mqtt-password', deviceKey);
  const random = `${pepper.generation}$${randomBytes(16).toString('base64url')}`;
  const salt = `${random}$${checkOf(secret, random)}`;
  return { salt, password: passwordOf(secret, salt) };
}

/**
 * The MQTT password of a device: HKDF-SHA256 (RFC 5869) over HMAC(pepper, "mqtt-password" ‖ device key)
 * and the salt on the device's row. The stored hash of the device key has another label. Therefore a
 * leaked database yields no password.
 *
 * @param salt of {@link newMqttPassword}; those of earlier releases have no check
 * @returns 43 characters base64url, or undefined when the pepper of the salt's generation is not in the settings, or the salt
 *   was made for another device key
 */
export function deriveMqttPassword(peppers: readonly Pepper[], deviceKey: string, salt: string): string | undefined {
  const [generation, random, check] = salt.split('$');
  const pepper = peppers.find((one) => one.generation === generation);
  if (!pepper) return undefined;
  const secret = hmacSecret(pepper, 'mqtt-password', deviceKey);
  if (check !== undefined && check !== checkOf(secret, `${generation}$${random}`)) return undefined;
  return passwordOf(secret, salt);
}

function passwordOf(secret: Buffer, salt: string): string {
  const key = hkdfSync('sha256', createSecretKey(secret), salt, 'berth mqtt password', 32);
  return Buffer.from(key).toString('base64url');
}

function checkOf(secret: Buffer, random: string): string {
  return hash('sha256', `${secret.toString('base64url')}$${random}`, 'base64url').slice(0, CHECK_CHARACTERS);
}
