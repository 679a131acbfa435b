import { beforeEach, expect, it, vi } from 'vitest';
import * as z from 'zod/mini';
import { deviceNotFound, keyCheckUnfinished, Problem, unauthorized } from '../../lib/errors.ts';
import { requiredText, wholeNumber } from '../../lib/fields.ts';
import { endpoint, type Reply, routes, type Spec } from '../../lib/http/endpoint.ts';
import { renderProblem } from '../../lib/http/problem.ts';
import { log } from '../../lib/log.ts';
import { reloadSettings, SettingsError } from '../../lib/settings/settings.ts';

beforeEach(() => {
  Object.assign(process.env, { DATABASE_URL: 'postgres://localhost/berth', BERTH_PEPPER: 'p'.repeat(32) });
  reloadSettings();
});

const run = vi.fn<Spec['run']>();
const open = { name: 'admin', problems: [] } as const;
const body = z.object({
  name: requiredText(5, 'Name'),
  count: z.optional(wholeNumber(1, 9, 'Count')),
  tags: z.optional(z.array(z.string())),
  on: z.optional(z.boolean()),
  nested: z.optional(z.strictObject({ a: z.optional(z.int()) })),
});
const spec = { method: 'POST', path: '/api/v1/x', summary: '', auth: open, replies: {}, body, run } as const;

function callOf(fields: Partial<Spec>, event: object = {}, remainingMs = 30_000) {
  const handler = endpoint({ ...spec, ...fields } as never);
  const whole = {
    headers: {},
    requestContext: { http: { sourceIp: '192.0.2.1' } },
    routeKey: 'POST /api/v1/x',
    ...event,
  };
  const context = { awsRequestId: 'request-1', getRemainingTimeInMillis: () => remainingMs };
  return handler(whole as never, context as never);
}
async function post(value: unknown, fields: Partial<Spec> = {}) {
  const reply = await callOf(fields, { body: JSON.stringify(value) });
  return { ...reply, json: JSON.parse(reply.body ?? 'null') };
}
const returning = (reply: Reply) => run.mockReset().mockResolvedValue(reply);

it('a reply has the type of its body, the request id, and is stored by no cache', async () => {
  returning({ body: { a: 1 } });
  expect(await post({ name: 'n' })).toMatchObject({
    statusCode: 200,
    body: '{"a":1}',
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-request-id': 'request-1' },
  });
});

it('a text reply is plain, or what its headers say, even if it is empty', async () => {
  returning({ text: 'allow' });
  expect(await callOf({}, { body: '{"name":"n"}' })).toMatchObject({
    body: 'allow',
    headers: { 'content-type': 'text/plain' },
  });
  returning({ text: '', headers: { 'content-type': 'text/csv' }, status: 201 });
  const reply = await callOf({}, { body: '{"name":"n"}' });
  expect(reply).toMatchObject({ statusCode: 201, body: '', headers: { 'content-type': 'text/csv' } });
});

it('a reply without a body has neither body nor type', async () => {
  returning({ status: 304 });
  const reply = await callOf({}, { body: '{"name":"n"}' });
  expect(reply).not.toHaveProperty('body');
  expect(reply.headers).not.toHaveProperty('content-type');
});

it.each([
  [{}, 'missing-fields', [['name', 'is required']]],
  [{ name: null }, 'missing-fields', [['name', 'is required']]],
  [{ name: '' }, 'missing-fields', [['name', 'is required']]],
  [{ name: 7 }, 'invalid-request', [['name', 'must be a string']]],
  [{ name: 'n', count: 10 }, 'invalid-request', [['count', 'must be a whole number from 1 to 9']]],
  [{ name: 'n', tags: 'x' }, 'invalid-request', [['tags', 'must be an array']]],
  [{ name: 'n', tags: ['a', 1] }, 'invalid-request', [['tags.1', 'must be a string']]],
  [{ name: 'n', on: 'yes' }, 'invalid-request', [['on', 'must be true or false']]],
  [{ name: 'n', nested: 1 }, 'invalid-request', [['nested', 'must be an object']]],
  [
    { name: 'n', nested: { a: 1, b: 1, c: 1 } },
    'invalid-request',
    [
      ['nested.b', 'is not a known field'],
      ['nested.c', 'is not a known field'],
    ],
  ],
  [[], 'invalid-request', [['', 'must be an object']]],
  [{ name: 'too long' }, 'invalid-request', [['name', 'must have at most 5 characters']]],
])('400 for %j names every field and what it may be', async (value, code, errors) => {
  const { statusCode, json } = await post(value);
  expect(statusCode).toBe(400);
  expect(json.code).toBe(code);
  expect(json.errors).toEqual(errors.map(([path, message]) => ({ path, message })));
  expect(json.detail).toBe(errors.map(([path, message]) => `${path || 'The body'} ${message}`).join('; '));
});

it('a field that is not known at the top is named without a dot', async () => {
  const { json } = await post({ b: 1 }, { body: z.strictObject({}) as never });
  expect(json.errors).toEqual([{ path: 'b', message: 'is not a known field' }]);
});

it('a route may answer a missing field with a problem of its own, and an invalid one not', async () => {
  expect((await post({}, { missing: deviceNotFound })).json.code).toBe('device-not-found');
  expect((await post({ name: 1 }, { missing: deviceNotFound })).json.code).toBe('invalid-request');
});

it('parameters and query are checked, and a route without a schema gets none of them', async () => {
  returning({});
  const some = { pathParameters: { id: 'x' }, queryStringParameters: { limit: 'y' }, body: '{"name":"n"}' };
  await callOf({}, some);
  expect(run.mock.calls[0]?.[1]).toMatchObject({ params: undefined, query: undefined, body: { name: 'n' } });
  await callOf(
    { params: z.object({ id: z.string() }), query: z.object({ limit: z.string() }), body: undefined } as never,
    some,
  );
  expect(run.mock.calls[1]?.[1]).toMatchObject({ params: { id: 'x' }, query: { limit: 'y' }, body: undefined });
  const refused = await callOf({ query: z.object({ limit: z.string() }) } as never, { body: '{"name":"n"}' });
  expect(JSON.parse(refused.body ?? '')).toMatchObject({ code: 'invalid-request', errors: [{ path: 'limit' }] });
});

it('the verb gets the credential, unless the route has checked it', async () => {
  returning({});
  const event = { headers: { authorization: 'Bearer key' }, body: '{"name":"n"}' };
  await callOf({}, event);
  expect(run.mock.calls[0]?.[1].credential).toBe('key');
  await callOf(
    { auth: { ...open, header: 'x-device-api-key' } as never },
    { ...event, headers: { 'x-device-api-key': 'own' } },
  );
  expect(run.mock.calls[1]?.[1].credential).toBe('own');
  const caller = { actor: 'admin', scopes: ['read'] };
  await callOf({ auth: { ...open, authorise: async () => caller } as never }, event);
  expect(run.mock.calls[2]?.[1]).toMatchObject({ credential: undefined, scopes: ['read'] });
  expect(run.mock.calls[1]?.[1].scopes).toBeUndefined();
  expect(run.mock.calls.map(([{ actor }]) => actor)).toEqual(['device', 'device', 'admin']);
});

it('bytes are sent in base64, and a route’s headers with every reply, unless the reply has its own', async () => {
  const spec = { headers: { 'x-of-route': 'route', 'cache-control': 'private' } } as never;
  returning({ bytes: Uint8Array.of(0, 255, 128), headers: { 'x-of-route': 'reply' } });
  const reply = await callOf(spec, { body: '{"name":"n"}' });
  expect(reply).toMatchObject({ statusCode: 200, body: 'AP+A', isBase64Encoded: true });
  expect(reply.headers).toMatchObject({ 'x-of-route': 'reply', 'cache-control': 'no-store' });
  const problem = await post({}, spec);
  expect(problem).toMatchObject({ statusCode: 400, headers: { 'x-of-route': 'route' } });
});

it('an unauthorised caller learns nothing about its input, and the verb does not run', async () => {
  returning({});
  const refuse = async () => {
    throw new Problem(unauthorized);
  };
  const { statusCode, headers } = await post({}, { auth: { ...open, authorise: refuse } as never });
  expect([statusCode, headers?.['www-authenticate']]).toEqual([401, 'Bearer']);
  expect(run).not.toHaveBeenCalled();
});

it.each([
  ['GET', 'read'],
  ['POST', 'write'],
  ['PUT', 'write'],
  ['DELETE', 'write'],
])('%s needs the scope %s', async (method, scope) => {
  returning({});
  const authorise = vi.fn(async () => ({ actor: 'admin' }));
  await callOf({ method, body: undefined, auth: { ...open, authorise } } as never);
  expect(authorise).toHaveBeenCalledWith(expect.anything(), scope);
});

it.each([
  ['5 s', 30_000, undefined, 5_000],
  ['the budget of the route', 30_000, 20_000, 20_000],
  ['the time of the function, less what the reply takes', 4_000, undefined, 2_500],
])('a request may take %s', async (_, remainingMs, budgetMs, expected) => {
  returning({});
  const before = Date.now();
  await callOf({ body: undefined, ...(budgetMs && { budgetMs }) } as never, {}, remainingMs);
  const left = (run.mock.calls[0]?.[0].deadline ?? 0) - before;
  expect(left).toBeGreaterThanOrEqual(expected);
  expect(left).toBeLessThan(expected + 500);
});

it('the verb knows the request and the address', async () => {
  returning({});
  await callOf({ body: undefined } as never);
  expect(run.mock.calls[0]?.[0]).toMatchObject({ requestId: 'request-1', sourceIp: '192.0.2.1' });
});

it('every request is logged with its route and status', async () => {
  const info = vi.spyOn(log, 'info');
  returning({ status: 202 });
  await post({ name: 'n' });
  expect(info).toHaveBeenCalledWith('request', {
    ...{ requestId: 'request-1', route: 'POST /api/v1/x', status: 202 },
    ms: expect.toSatisfy((ms: number) => ms >= 0 && ms < 5_000),
  });
  info.mockRestore();
});

it('a problem has the members of its route first', async () => {
  const { body: text } = await post({}, { envelope: { success: false } });
  expect(text).toMatch(/^\{"success":false,"type":"urn:berth:problem:missing-fields"/);
});

it('the route key of the gateway selects the route; 404 for another one', async () => {
  const one = endpoint({ ...spec, body: undefined, run: async () => ({ text: 'one' }) } as never);
  const two = endpoint({ ...spec, method: 'GET', body: undefined, run: async () => ({ text: 'two' }) } as never);
  const both = routes(one, two);
  expect(both.endpoints).toEqual([one, two]);
  const make = (routeKey: string) =>
    both(
      { routeKey, headers: {}, requestContext: { http: { sourceIp: '' } } } as never,
      { awsRequestId: 'request-2', getRemainingTimeInMillis: () => 9_000 } as never,
    );
  expect((await make('GET /api/v1/x')).body).toBe('two');
  expect((await make('POST /api/v1/x')).body).toBe('one');
  const none = await make('PUT /api/v1/x');
  expect([none.statusCode, JSON.parse(none.body ?? '').requestId]).toEqual([404, 'request-2']);
});

const problemOf = (error: unknown) => {
  const { body: text = '', ...reply } = renderProblem(error, 'request-1');
  return { ...reply, json: JSON.parse(text) };
};

it('a problem has the members of RFC 9457 and of the legacy service', () => {
  const { json, headers, statusCode } = problemOf(new Problem(deviceNotFound, 'Where?', { extra: { uuid: 'u' } }));
  const { title } = deviceNotFound;
  expect(statusCode).toBe(404);
  expect(json).toEqual({
    ...{ type: 'urn:berth:problem:device-not-found', title, status: 404, detail: 'Where?', code: 'device-not-found' },
    ...{ requestId: 'request-1', uuid: 'u', error: title, message: 'Where?' },
  });
  expect(headers).toEqual({
    ...{ 'content-type': 'application/problem+json', 'cache-control': 'no-store', 'x-request-id': 'request-1' },
  });
});

it('Retry-After is sent when the problem has one, also zero', () => {
  expect(problemOf(new Problem(keyCheckUnfinished, undefined, { retryAfterSeconds: 7 })).headers?.['retry-after']).toBe(
    '7',
  );
  expect(problemOf(new Problem(keyCheckUnfinished, undefined, { retryAfterSeconds: 0 })).headers?.['retry-after']).toBe(
    '0',
  );
});

it.each([
  [{ code: '22001' }, 400, 'invalid-request'],
  [{ code: '22P05' }, 400, 'invalid-request'],
  [{ code: '23505' }, 500, 'internal'],
  [{ code: '220011' }, 500, 'internal'],
  [{ code: 'x22001' }, 500, 'internal'],
  [{ code: 22001 }, 500, 'internal'],
  [undefined, 500, 'internal'],
  ['text', 500, 'internal'],
])('what Postgres threw as %j is answered with %d %s', (thrown, status, code) => {
  const error = vi.spyOn(log, 'error').mockImplementation(() => {});
  const { statusCode, json } = problemOf(thrown);
  expect([statusCode, json.code]).toEqual([status, code]);
  expect(error).toHaveBeenCalledTimes(status === 500 ? 1 : 0);
  error.mockRestore();
});

it('a wrong setting is logged with its reason, which the caller does not see', () => {
  const critical = vi.spyOn(log, 'critical').mockImplementation(() => {});
  const { json } = problemOf(new SettingsError('ADMIN_AUTH must be set'));
  expect(JSON.stringify(json)).not.toContain('ADMIN_AUTH');
  expect(critical).toHaveBeenCalledWith('not configured', { requestId: 'request-1', reason: 'ADMIN_AUTH must be set' });
  critical.mockRestore();
});
