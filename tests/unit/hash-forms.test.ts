import { pbkdf2Sync } from 'node:crypto';
import { expect, it } from 'vitest';
import { hashAsLegacy, isBcrypt, verifyBcrypt } from '../../lib/crypto/legacy-hash.ts';
import { hashMqttPassword, verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';

const salt = Buffer.from('twelve bytes');
const key = (of = salt) => pbkdf2Sync('right', of, 100, 64, 'sha512').toString('base64');
const good = ['PBKDF2', 'sha512', '100', salt.toString('base64'), key()];

/** The good hash with another part. */
const withPart = (index: number, part: string) => good.with(index, part).join('$');

it('a password matches a hash that mosquitto_passwd or another program made', async () => {
  expect(await verifyMqttPassword('right', good.join('$'))).toBe(true);
  expect(await verifyMqttPassword('wrong', good.join('$'))).toBe(false);
});

it('the digest and the iterations of a stored hash are used, not the ones of new hashes', async () => {
  const other = pbkdf2Sync('right', salt, 7, 32, 'sha256').toString('base64');
  const hash = ['PBKDF2', 'sha256', '7', salt.toString('base64'), other].join('$');
  expect(await verifyMqttPassword('right', hash)).toBe(true);
});

it.each([
  ['of another form', withPart(0, 'PBKDF3')],
  ['without a digest', withPart(1, '')],
  ['without iterations', withPart(2, '')],
  ['without a salt', ['PBKDF2', 'sha512', '100', '', key(Buffer.alloc(0))].join('$')],
  ['with an empty key, which has no byte that differs', withPart(4, '')],
  ['that ends after the salt', good.slice(0, 4).join('$')],
  ['that ends after the iterations', good.slice(0, 3).join('$')],
  ['that ends after the digest', good.slice(0, 2).join('$')],
  ['that is only a form', 'PBKDF2'],
  ['that is empty', ''],
])('no password matches a hash %s', async (_, hash) => {
  expect(await verifyMqttPassword('right', hash)).toBe(false);
});

it('each form is stored as what it is', async () => {
  expect(await hashMqttPassword('p', 'bcrypt')).toMatch(/^\$2[aby]\$04\$/);
  expect(await hashMqttPassword('p', 'pbkdf2')).toMatch(/^PBKDF2\$sha512\$100\$[^$]{16}\$[^$]{88}$/);
  expect(await hashMqttPassword('p', 'pbkdf2')).not.toBe(await hashMqttPassword('p', 'pbkdf2'));
});

it.each([
  ['$2a$10$x', true],
  ['$2b$10$x', true],
  ['$2y$10$x', true],
  ['$2x$10$x', false],
  ['1$2a$10$x', false],
  ['2a$10$x', false],
  ['', false],
])('%s is a hash of the legacy service: %s', (hash, is) => {
  expect(isBcrypt(hash)).toBe(is);
});

it('a device key of 72 bytes is hashed for the legacy service at its cost, a longer one is not', async () => {
  const longest = `${'x'.repeat(70)}é`;
  const hash = await hashAsLegacy(longest);
  expect(hash).toMatch(/^\$2[aby]\$10\$/);
  expect(await verifyBcrypt(longest, hash as string)).toBe(true);
  expect(await hashAsLegacy(`${longest}y`)).toBeUndefined();
});
