import { expect, it } from 'vitest';
import { shapeOf } from '../../lib/provisioning-keys/shape.ts';

const id = '44faab1a-6b5e-4a53-8f0c-0d8c8b1e4f11';
const secret = 'aZ0_-'.repeat(8).padEnd(43, 'x');
const hex = 'a1B2'.repeat(16);

it('a key contains the id of its row', () => {
  expect(shapeOf(`prov_${id}_${secret}`)).toEqual({ kind: 'current', id });
});

it('64 hex digits are a legacy key, in any case', () => {
  expect(shapeOf(hex)).toEqual({ kind: 'legacy' });
});

it.each([
  `x${hex}`,
  `${hex}0`,
  hex.slice(1),
  `g${hex.slice(1)}`,
  '',
  `xprov_${id}_${secret}`,
  `prov_${id}_${secret}x`,
  `prov_${id}_${secret.slice(1)}`,
  `prov_${id}_${secret.slice(1)}.`,
  `prov_${id.toUpperCase()}_${secret}`,
  `prov_${id.slice(1)}_${secret}`,
  `prov_${id}${secret}`,
])('%s is no key, and is compared with nothing', (key) => {
  expect(shapeOf(key)).toEqual({ kind: 'unknown' });
});
