import { describe, expect, it } from 'vitest';
import type * as z from 'zod/mini';
import {
  booleanText,
  clearable,
  deviceUuid,
  integerText,
  optionalText,
  pageQuery,
  parseTags,
  requiredText,
  rowId,
  rowUuid,
  tags,
  tagsText,
  text,
  wholeNumber,
} from '../../lib/fields.ts';

/** The forms of members of requests: what is accepted, and as what; the message for what is not. */
const UUID = '44faab1a-6b5e-4a53-8f0c-0d8c8b1e4f11';
const read = (schema: z.ZodMiniType, value: unknown) => {
  const { success, data, error } = schema.safeParse(value);
  return success ? { data } : { messages: error.issues.map(({ path, message }) => [...path, message].join(' ')) };
};
const TOO_LONG = 'must have at most 3 characters';
const UNSTORABLE = 'must not contain NUL (\\u0000) or an unpaired surrogate';
const TAG_NAME = 'has a name that is not 1 to 32 characters of A-Z a-z 0-9 . _ -, or begins with . _ -';
const TAG_VALUE = 'must be 1 to 64 characters without commas and control characters';
const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, 'x']));

describe.each([
  ['a text', text, ''],
  ['a text that may be absent', optionalText, undefined],
  ['a text that can be removed', clearable, null],
] as const)('%s', (_, form, emptied) => {
  it.each([
    ['', emptied],
    ['abc', 'abc'],
    // Characters as Postgres counts them, not UTF-16 units.
    ['😀😀😀', '😀😀😀'],
  ])('%j is accepted', (value, data) => {
    expect(read(form(3, ''), value)).toEqual({ data });
  });

  it.each([
    ['abcd', TOO_LONG],
    ['😀😀😀😀', TOO_LONG],
    ['ab\0d', TOO_LONG],
    ['a\0', UNSTORABLE],
    ['a\ud800', UNSTORABLE],
  ])('%j is refused', (value, message) => {
    expect(read(form(3, ''), value)).toEqual({ messages: [message] });
  });

  it('a number is refused', () => {
    expect(read(form(3, ''), 1).messages).toHaveLength(1);
  });
});

it('null and absence: refused for a text, absent for an optional one, null removes', () => {
  expect(read(text(3, ''), null).messages).toHaveLength(1);
  expect([null, undefined].map((value) => read(optionalText(3, ''), value))).toEqual([
    { data: undefined },
    { data: undefined },
  ]);
  expect([null, undefined].map((value) => read(clearable(3, ''), value))).toEqual([
    { data: null },
    { data: undefined },
  ]);
});

it('a required text is not empty', () => {
  expect(read(requiredText(3, ''), '')).toEqual({ messages: ['must not be empty'] });
  expect(read(requiredText(3, ''), 'a')).toEqual({ data: 'a' });
});

describe('tags', () => {
  it.each([
    [{}],
    [{ site: 'berlin', 'A.b_c-9': 'line 3: ü' }],
    [{ [`a${'b'.repeat(31)}`]: 'x'.repeat(64), '9': '😀'.repeat(64) }],
    [many(16)],
  ])('%j are accepted', (value) => {
    expect(read(tags(''), value)).toEqual({ data: value });
  });

  it.each([
    [null, 'must be an object of names and values'],
    ['site:berlin', 'must be an object of names and values'],
    [['site'], 'must be an object of names and values'],
    [many(17), 'must have at most 16 tags'],
    [{ '': 'x' }, ` ${TAG_NAME}`],
    [{ '-a': 'x' }, `-a ${TAG_NAME}`],
    [{ 'a b': 'x' }, `a b ${TAG_NAME}`],
    [{ [`a${'b'.repeat(32)}`]: 'x' }, `a${'b'.repeat(32)} ${TAG_NAME}`],
    [{ a: '' }, `a ${TAG_VALUE}`],
    [{ a: 'x,y' }, `a ${TAG_VALUE}`],
    [{ a: 'x\n' }, `a ${TAG_VALUE}`],
    [{ a: '\ud800' }, `a ${TAG_VALUE}`],
    [{ a: 'x'.repeat(65) }, `a ${TAG_VALUE}`],
    [{ a: 1 }, `a ${TAG_VALUE}`],
    [{ a: null }, `a ${TAG_VALUE}`],
  ])('%j are refused', (value, message) => {
    expect(read(tags(''), value)).toEqual({ messages: [message] });
  });

  it('names every wrong one', () => {
    expect(read(tags(''), { '-': 'x', a: '' })).toEqual({ messages: [`- ${TAG_NAME}`, `a ${TAG_VALUE}`] });
  });
});

describe('tags in a query', () => {
  it.each([
    ['site:berlin', { site: 'berlin' }],
    ['site:berlin,line:3', { site: 'berlin', line: '3' }],
    ['url:mqtt://x:1', { url: 'mqtt://x:1' }],
  ])('%s', (value, parsed) => {
    expect(read(tagsText(''), value)).toEqual({ data: value });
    expect(parseTags(value)).toEqual(parsed);
  });

  it.each(['', 'site', 'site:', ':berlin', 'a:1,a:2', 'a:1,', 'a:x\ny'])('%j is refused', (value) => {
    expect(read(tagsText(''), value)).toEqual({
      messages: ['must be tags such as site:berlin,line:3, each name once'],
    });
  });

  it('a value may have a line break only where it is refused afterwards', () => {
    expect(parseTags('a:x\ny')).toEqual({ a: 'x\ny' });
  });
});

describe('a device’s uuid', () => {
  it.each([
    ['test-123', 'test-123'],
    ['Test.1:2_3', 'Test.1:2_3'],
    ['a'.repeat(255), 'a'.repeat(255)],
    ['...', '...'],
    ['bulk-assign-1', 'bulk-assign-1'],
    [UUID.toUpperCase(), UUID],
    [`${UUID.toUpperCase()}0`, `${UUID.toUpperCase()}0`],
    [`0${UUID.toUpperCase()}`, `0${UUID.toUpperCase()}`],
    [UUID.toUpperCase().replaceAll('-', ''), UUID.toUpperCase().replaceAll('-', '')],
  ])('%s is %s', (value, data) => {
    expect(read(deviceUuid, value)).toEqual({ data });
  });

  it.each(['', '.', '..', 'bulk-assign', 'a/b', 'a+', '#', 'a b', 'ä', `{${UUID}}`, 'a'.repeat(256), 'a\n'])(
    '%j is refused',
    (value) => {
      expect(read(deviceUuid, value)).toEqual({
        messages: ['must be 1 to 255 characters of A-Z a-z 0-9 . _ : - (an RFC 4122 uuid is best)'],
      });
    },
  );
});

it('the id of a provisioning key is an RFC 4122 uuid, in lower case', () => {
  expect(read(rowUuid, UUID.toUpperCase())).toEqual({ data: UUID });
  for (const value of ['', `${UUID}0`, `0${UUID}`, UUID.replaceAll('-', '')]) {
    expect(read(rowUuid, value)).toEqual({ messages: ['must be the id of a provisioning key, an RFC 4122 uuid'] });
  }
});

describe('numbers', () => {
  it.each([1, 5])('%j is a whole number from 1 to 5', (value) => {
    expect(read(wholeNumber(1, 5, ''), value)).toEqual({ data: value });
    expect(read(integerText(1, 5, ''), String(value))).toEqual({ data: value });
  });

  it.each([0, 6, 1.5, -1, Number.NaN])('%j is none', (value) => {
    const message = 'must be a whole number from 1 to 5';
    expect(new Set(read(wholeNumber(1, 5, ''), value).messages)).toEqual(new Set([message]));
    expect(read(integerText(1, 5, ''), String(value))).toEqual({ messages: [message] });
  });

  it.each(['', ' 1', '1 ', '0x1', '1e0', '+1', '1'.repeat(17)])('%j is no number in a query', (value) => {
    expect(read(integerText(1, 1e20, ''), value).messages).toHaveLength(1);
  });

  it('a number in a query has up to 16 digits', () => {
    expect(read(integerText(1, 1e20, ''), '1'.repeat(16))).toEqual({ data: 1_111_111_111_111_111 });
  });

  it('the id of a row is a positive integer of Postgres', () => {
    expect(read(rowId(''), 2_147_483_647)).toEqual({ data: 2_147_483_647 });
    for (const value of [0, 2_147_483_648]) expect(read(rowId(''), value).messages).toHaveLength(1);
  });

  it('a page has 1 to 500 rows, and begins after any id', () => {
    expect(['1', '500'].map((value) => read(pageQuery.limit, value))).toEqual([{ data: 1 }, { data: 500 }]);
    expect(['0', '501'].map((value) => read(pageQuery.limit, value).messages?.length)).toEqual([1, 1]);
    expect(['0', '2147483647'].map((value) => read(pageQuery.after, value))).toEqual([
      { data: 0 },
      { data: 2_147_483_647 },
    ]);
  });
});

it('a boolean in a query is true or false, spelled so', () => {
  expect(['true', 'false'].map((value) => read(booleanText(''), value))).toEqual([{ data: true }, { data: false }]);
  for (const value of ['', 'TRUE', '1', 'true ', 'untrue', 'trues']) {
    expect(read(booleanText(''), value)).toEqual({ messages: ['must be true or false'] });
  }
});
