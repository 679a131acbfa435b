import { expect, it } from 'vitest';
import { credentialOf } from '../../lib/http/auth.ts';
import { parseBody } from '../../lib/http/body.ts';
import { csv, wantsCsv } from '../../lib/http/csv.ts';
import { matches, quoted, tagsOf } from '../../lib/http/etag.ts';
import { nextLink } from '../../lib/http/page.ts';

const sent = (headers: Record<string, string>) => credentialOf({ headers } as never, 'x-provisioning-key');

it.each([
  ['the key header', { 'x-provisioning-key': ' key ' }, 'key'],
  ['the key header, whatever Authorization is', { 'x-provisioning-key': 'key', authorization: 'Basic abc' }, 'key'],
  ['Bearer, when the key header is empty', { 'x-provisioning-key': ' ', authorization: 'Bearer key' }, 'key'],
  ['Bearer', { authorization: 'Bearer key' }, 'key'],
  ['bearer in any case, with blanks', { authorization: '  bEARER   key  ' }, 'key'],
  ['a bare key, as for the legacy service', { authorization: ' key ' }, 'key'],
  ['a bare key that begins as a scheme does', { authorization: 'BearerKey' }, 'BearerKey'],
  ['a bare key that ends as a scheme does', { authorization: 'my-basic' }, 'my-basic'],
  ['a key that contains a comma', { authorization: 'Bearer a,b' }, 'a,b'],
  ['no header', {}, undefined],
  ['an empty header', { authorization: '  ' }, undefined],
  ['a scheme without a key', { authorization: 'Bearer' }, undefined],
  ['another scheme without a key', { authorization: 'basic ' }, undefined],
])('the credential of %s', (_, headers, expected) => {
  expect(sent(headers as Record<string, string>)).toBe(expected);
});

it.each([
  ['another scheme', { authorization: 'Basic YTpi' }, 'scheme "Basic"'],
  ['a scheme that only begins with bearer', { authorization: 'Bearers key' }, 'scheme "Bearers"'],
  ['two headers, joined by the gateway', { authorization: 'Bearer a, Bearer b' }, 'two Authorization headers'],
  ['two headers without a blank', { authorization: 'Bearer a,basic b' }, 'two Authorization headers'],
])('401 for %s', (_, headers, message) => {
  expect(() => sent(headers)).toThrow(expect.objectContaining({ code: 'unauthorized' }));
  expect(() => sent(headers)).toThrow(message);
});

it('a route without a key header reads Authorization only', () => {
  const event = { headers: { 'x-provisioning-key': 'other', authorization: 'Bearer key' } };
  expect(credentialOf(event as never)).toBe('key');
});

it.each([
  ['"a"', true],
  ['W/"a"', true],
  ['"b", "a"', true],
  ['"b" ,W/"a"', true],
  ['*', true],
  [' * ', true],
  ['"b"', false],
  ['a', false],
  ['"aW/"', false],
  ['"*"', false],
  ['', false],
  [undefined, false],
])('If-None-Match %s matches the tag "a": %s', (header, is) => {
  expect(matches(header, quoted('a'))).toBe(is);
});

it.each([
  ['"a"', ['a']],
  ['"a", "b"', ['a', 'b']],
  ['a', ['a']],
  ['"*"', ['*']],
  ['"a""b"', ['a""b']],
  // Weak tags never match (RFC 9110, 13.1.1).
  ['W/"a"', ['W/"a"']],
  ['"a"x', ['"a"x']],
  ['', ['']],
  ['*', undefined],
  [' * ', undefined],
  [undefined, undefined],
])('If-Match %j demands %j', (header, tags) => {
  expect(tagsOf(header)).toEqual(tags);
});

it('the next page has the same query and begins after the last row', () => {
  expect(nextLink('/p', { limit: 2, type: undefined, name: 'a b' }, { after: 7 })).toEqual({
    next: '/p?limit=2&name=a+b&after=7',
  });
  expect(nextLink('/p', { after: 3 }, { after: 7 })).toEqual({ next: '/p?after=7' });
  expect(nextLink('/p', { limit: 2 }, { after: undefined })).toEqual({});
  expect(nextLink('/p', {}, { after: 7, before: undefined })).toEqual({});
});

it.each([
  ['text/csv', true],
  ['TEXT/CSV; q=1', true],
  ['application/json, text/csv', true],
  ['application/json', false],
  [undefined, false],
])('Accept %s asks for CSV: %s', (accept, is) => {
  expect(wantsCsv({ accept })).toBe(is);
});

it.each([
  ['a,b', '"a,b"'],
  ['a"b"', '"a""b"""'],
  ['a\nb', '"a\nb"'],
  ['a\rb', '"a\rb"'],
  ['a-b=c', 'a-b=c'],
  ['-1', "'-1"],
  ['+1', "'+1"],
  ['@x', "'@x"],
  ['=1', "'=1"],
  ['\tx', "'\tx"],
  ['\nx', `"'\nx"`],
  ['\rx', `"'\rx"`],
  // A number of Berth is no formula.
  [-1, '-1'],
  [0, '0'],
  [false, 'false'],
  [null, ''],
  [undefined, ''],
  ['', ''],
])('the CSV field of %j is %s', (value, field) => {
  expect(csv(['a', 'b'], [{ a: value, b: 'z' }])).toBe(`a,b\r\n${field},z\r\n`);
});

const body = (text: string | undefined, { base64 = false, type = '' } = {}, maxBytes?: number) =>
  parseBody({ body: text, isBase64Encoded: base64, headers: { 'content-type': type } } as never, maxBytes);
const encoded = (text: string) => Buffer.from(text).toString('base64');

it('a body is JSON whatever its type is, encoded or not; blank is no body', () => {
  expect(body('{"a":"é"}')).toEqual({ a: 'é' });
  expect(body(encoded('{"a":"é"}'), { base64: true })).toEqual({ a: 'é' });
  expect(body('{"a":1}', { type: 'application/x-www-form-urlencoded' })).toEqual({ a: 1 });
  for (const none of [undefined, '', ' \n']) expect(body(none)).toBeUndefined();
});

it('a form is parsed as one only if its type says so and it does not look like broken JSON', () => {
  const form = { type: 'Application/X-WWW-Form-Urlencoded; charset=utf-8' };
  expect(body('a=1&b=x+y', form)).toEqual({ a: '1', b: 'x y' });
  for (const broken of ['{"a"=1}', ' [1=2', '"a=1']) expect(() => body(broken, form)).toThrow();
  expect(() => body('a=1', { type: 'x application/x-www-form-urlencoded' })).toThrow();
  expect(() => parseBody({ body: 'a=1', headers: {} } as never)).toThrow();
});

it.each([false, true])('a body may have as many bytes as the limit, and no more (base64: %s)', (base64) => {
  const text = (bytes: number) => {
    const json = `"${'é'.repeat((bytes - 2) / 2)}"`;
    return base64 ? encoded(json) : json;
  };
  expect(body(text(100), { base64 }, 100)).toHaveLength(49);
  // The decoded length is known to 2 bytes before decoding.
  const over = body.bind(undefined, text(base64 ? 104 : 102), { base64 }, 100);
  expect(over).toThrow(expect.objectContaining({ code: 'body-too-large', status: 413 }));
  expect(() => body(base64 ? encoded(`"${'a'.repeat(17_000)}"`) : `"${'a'.repeat(16_384)}"`, { base64 })).toThrow(
    '16384',
  );
  if (!base64) expect(body(`"${'a'.repeat(16_382)}"`)).toHaveLength(16_382);
});
