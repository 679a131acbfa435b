import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { seal, unseal } from '../../lib/crypto/seal.ts';
import { readSettings, reloadSettings, SettingsError } from '../../lib/settings/settings.ts';

const at = { table: 'mqtt_broker_config', id: 7, column: 'password_sealed' };
const first = randomBytes(32).toString('base64');
const second = randomBytes(32).toString('hex');
const good = { DATABASE_URL: 'postgres://localhost/berth', BERTH_PEPPER: 'p'.repeat(32) };

function useKeys(keys: string): void {
  Object.assign(process.env, good, { BERTH_SEAL_KEY: keys });
  reloadSettings();
}
beforeEach(() => useKeys(first));

it('unseals a sealed value, and seals the same value differently each time', () => {
  const sealed = seal('geheim ☂', at);
  expect(sealed).toMatch(/^1\$[\w-]{16}\$[\w-]+\$[\w-]{22}$/);
  expect(unseal(sealed, at)).toBe('geheim ☂');
  expect(seal('geheim ☂', at)).not.toBe(sealed);
});

it.each([{ id: 8 }, { column: 'client_key_sealed' }, { table: 'devices' }])(
  'unseals a value only in its place (%j)',
  (other) => {
    expect(() => unseal(seal('secret', at), { ...at, ...other })).toThrow(
      expect.objectContaining({ code: 'unsealing-failed' }),
    );
  },
);

it('refuses a value that was changed, truncated or never sealed', () => {
  const [generation, iv, ciphertext, tag = ''] = seal('secret', at).split('$');
  const changed = `${tag[0] === 'A' ? 'B' : 'A'}${tag.slice(1)}`;
  const short = Buffer.from(tag, 'base64url').subarray(0, 4).toString('base64url');
  for (const parts of [
    [generation, iv, ciphertext, changed],
    [generation, iv, ciphertext, short],
    [generation, iv],
    ['plain'],
  ]) {
    expect(() => unseal(parts.join('$'), at)).toThrow(expect.objectContaining({ code: 'unsealing-failed' }));
  }
});

it('seals with the new key during rotation, and unseals values of the old key', () => {
  const old = seal('secret', at);
  useKeys(`2:${second},1:${first}`);
  expect(seal('secret', at)).toMatch(/^2\$/);
  expect(unseal(old, at)).toBe('secret');
  useKeys(`2:${second}`);
  expect(() => unseal(old, at)).toThrow(expect.objectContaining({ code: 'unsealing-failed' }));
});

it('does not seal without a key', () => {
  useKeys('');
  expect(() => seal('secret', at)).toThrow(expect.objectContaining({ code: 'sealing-not-configured' }));
});

describe('BERTH_SEAL_KEY', () => {
  it.each([first, second, `b:${first}, a:${second}`])('accepts %s', (value) => {
    const { sealKeys } = readSettings({ ...good, BERTH_SEAL_KEY: value });
    expect(sealKeys.map(({ key }) => key.length)).toEqual(value.split(',').map(() => 32));
  });

  it.each(['short', 'x'.repeat(64), `1:${first},1:${second}`, `${first},${second}`, `1:${first},`])(
    'SettingsError: %s',
    (value) => {
      expect(() => readSettings({ ...good, BERTH_SEAL_KEY: value })).toThrow(SettingsError);
      expect(() => readSettings({ ...good, BERTH_SEAL_KEY: value })).toThrow('BERTH_SEAL_KEY');
    },
  );
});

it('the cause of a refusal is kept for the log', () => {
  const [, ...parts] = seal('secret', at).split('$');
  const unsealing = () => unseal(['1', ...parts].join('$'), { ...at, id: 8 });
  expect(unsealing).toThrow(expect.objectContaining({ code: 'unsealing-failed', cause: expect.any(Error) }));
});
