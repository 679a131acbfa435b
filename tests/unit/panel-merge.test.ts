import { expect, it } from 'vitest';
import { mergeOf } from '../../panel/src/data/merge.ts';

const base = { name: 'main', region: 'eu', port: '1883', clean_session: true };

it('takes what only the other operator changed, and what only this one typed', () => {
  const mine = { ...base, name: 'mine' };
  const theirs = { ...base, region: 'us', clean_session: false };
  expect(mergeOf(base, mine, theirs)).toEqual({
    values: { ...base, name: 'mine', region: 'us', clean_session: false },
    conflicts: [],
  });
});

it('a field that both changed to different values is a conflict, and keeps what was typed until somebody chooses', () => {
  const mine = { ...base, port: '1884', region: '' };
  const theirs = { ...base, port: '1885', region: 'us' };
  expect(mergeOf(base, mine, theirs)).toEqual({
    values: { ...base, port: '1884', region: '' },
    conflicts: ['region', 'port'],
  });
});

it('the same change by both is no conflict', () => {
  const changed = { ...base, port: '1884' };
  expect(mergeOf(base, changed, changed)).toEqual({ values: changed, conflicts: [] });
});

it('what the other operator cannot have, such as a box that only this form has, stays as it is', () => {
  const mine = { ...base, remove_password: true };
  expect(mergeOf({ ...base, remove_password: false }, mine, base).values).toEqual(mine);
});
