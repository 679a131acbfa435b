import { createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import { expect, it, vi } from 'vitest';
import { sameSecret } from '../../lib/crypto/compare.ts';
import { deriveMqttPassword, newMqttPassword } from '../../lib/crypto/derive.ts';
import { hashCandidates, hashSecret } from '../../lib/crypto/hash.ts';
import { verifyBcrypt } from '../../lib/crypto/legacy-hash.ts';
import { hashMqttPassword, verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';

const timingSafeEqual = vi.hoisted(() => vi.fn());
vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof import('node:crypto')>();
  timingSafeEqual.mockImplementation(crypto.timingSafeEqual);
  return { ...crypto, timingSafeEqual };
});

const one = { generation: '1', key: createSecretKey('a'.repeat(32), 'utf8') };
const two = { generation: '2', key: createSecretKey('b'.repeat(32), 'utf8') };

it('a leaked database, with the hash of the device key and the salt, yields no password', () => {
  const { salt, password } = newMqttPassword(one, 'device-key');
  const stored = hashSecret(one, 'device-key', 'device-key').split('$')[1] as string;
  const fromLeak = hkdfSync('sha256', Buffer.from(stored, 'base64url'), salt, 'berth mqtt password', 32);
  expect(Buffer.from(fromLeak).toString('base64url')).not.toBe(password);
  const secret = createHmac('sha256', one.key).update('mqtt-password').update('device-key').digest();
  const fromSecret = hkdfSync('sha256', secret, salt, 'berth mqtt password', 32);
  expect(Buffer.from(fromSecret).toString('base64url')).toBe(password);
});

it('a device gets the same password on every retry, and another password with a new salt', () => {
  const { salt, password } = newMqttPassword(one, 'k');
  expect(deriveMqttPassword([one], 'k', salt)).toBe(password);
  expect(deriveMqttPassword([two, one], 'k', salt)).toBe(password);
  expect(newMqttPassword(one, 'k').password).not.toBe(password);
  const withoutCheck = salt.slice(0, 24);
  expect(deriveMqttPassword([one], 'k', withoutCheck)).not.toBe(deriveMqttPassword([one], 'K', withoutCheck));
});

it('no password is derived when the pepper of the salt’s generation is missing', () => {
  expect(deriveMqttPassword([two], 'k', newMqttPassword(one, 'k').salt)).toBeUndefined();
});

it('no password is derived for another device key than the salt was made for', () => {
  const { salt } = newMqttPassword(one, 'key before its rotation');
  expect(salt).toMatch(/^1\$[\w-]{22}\$[\w-]{8}$/);
  expect(deriveMqttPassword([one], 'key before its rotation', salt)).toBeDefined();
  expect(deriveMqttPassword([one], 'key after its rotation', salt)).toBeUndefined();
});

it('the check in a salt is neither part of the password nor the same for two salts of a key', () => {
  const [first, second] = [newMqttPassword(one, 'k'), newMqttPassword(one, 'k')];
  const check = first.salt.split('$')[2] as string;
  expect(first.password).not.toContain(check);
  expect(second.salt.split('$')[2]).not.toBe(check);
});

it('a salt of an earlier release, without a check, yields the password that it did', () => {
  const old = '1$0123456789012345678901';
  expect(deriveMqttPassword([one], 'k', old)).toBe('eucAY4XqC4HCmJgyO22jwuxlNQZi6-sJrCg_Bu5hKoM');
});

it('the hash with the current pepper is the first candidate', () => {
  expect(hashCandidates([two, one], 'device-key', 'k').map((hash) => hash.slice(0, 2))).toEqual(['2$', '1$']);
});

it('MQTT password hashes have the salt and key lengths of a Mosquitto password file', async () => {
  const [form, digest, iterations, salt, key] = (await hashMqttPassword('p', 'pbkdf2')).split('$') as string[];
  expect([form, digest, iterations]).toEqual(['PBKDF2', 'sha512', '100']);
  expect(Buffer.from(salt ?? '', 'base64')).toHaveLength(12);
  expect(Buffer.from(key ?? '', 'base64')).toHaveLength(64);
});

it.each(['pbkdf2', 'bcrypt'] as const)('a %s hash verifies its own password and no other', async (form) => {
  const hash = await hashMqttPassword('right', form);
  expect(await verifyMqttPassword('right', hash)).toBe(true);
  expect(await verifyMqttPassword('wrong', hash)).toBe(false);
  expect(await verifyMqttPassword('right', 'nonsense')).toBe(false);
});

it('a bcrypt hash is compared with the first 72 bytes of a key, as the legacy service does (defect 15)', async () => {
  const { hash } = await import('bcryptjs');
  const long = 'x'.repeat(72);
  const stored = await hash(`${long}AAA`, 4);
  expect(await verifyBcrypt(`${long}AAA`, stored)).toBe(true);
  expect(await verifyBcrypt(`${long}BBB`, stored)).toBe(true);
  expect(await verifyBcrypt(`${'x'.repeat(71)}y`, stored)).toBe(false);
  expect(await verifyBcrypt('x'.repeat(71), stored)).toBe(false);
});

it('secrets are equal only when they are equal as a whole', () => {
  expect(sameSecret('abc', 'abc')).toBe(true);
  expect(sameSecret('abc', 'abd')).toBe(false);
  expect(sameSecret('abc', 'abcd')).toBe(false);
});

it.each([
  ['the same secret', 'secret', 'secret', true],
  ['another secret', 'secret', 'secreT', false],
  ['a longer secret', 'secret', 'secret-and-more', false],
  ['an empty secret', 'secret', '', false],
])('%s is compared in constant time, as two hashes of 32 bytes', (_, a, b, isSame) => {
  timingSafeEqual.mockClear();
  expect(sameSecret(a, b)).toBe(isSame);
  expect(timingSafeEqual).toHaveBeenCalledTimes(1);
  expect(timingSafeEqual.mock.calls[0]?.map((hash) => hash.length)).toEqual([32, 32]);
});
