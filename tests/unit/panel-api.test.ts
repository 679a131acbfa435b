import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { DeviceChange, GetDevicesQuery, NewBroker } from '../../panel/src/api/constraints.ts';
import { curlOf } from '../../panel/src/api/curl.ts';
import { failureOf, noReply } from '../../panel/src/api/failure.ts';
import { complaintOf } from '../../panel/src/api/rules.ts';

const reply = (status: number, headers: Record<string, string> = {}) => ({ status, headers: new Headers(headers) });

it('a problem of Berth keeps detail, code, request id, fields and Retry-After', () => {
  const body = {
    ...{ code: 'missing-fields', title: 'Missing required fields', detail: 'name is required', requestId: 'r-1' },
    ...{ errors: [{ path: 'name', message: 'is required' }], devices_affected: 3 },
  };
  const failure = failureOf(reply(400, { 'retry-after': '7' }), body, true);
  expect(failure).toMatchObject({
    ...{ kind: 'problem', status: 400, code: 'missing-fields', title: 'Missing required fields', requestId: 'r-1' },
    ...{ detail: 'name is required', errors: body.errors, retryAfterSeconds: 7 },
  });
  expect(failure.body.devices_affected).toBe(3);
});

it.each([500, 502, 503, 504])('after %i of the gateway, the outcome of a change is not known', (status) => {
  const failure = failureOf(reply(status, { 'apigw-requestid': 'g-1' }), { message: 'Service Unavailable' }, true);
  expect(failure).toMatchObject({ kind: 'no-reply', code: `http-${status}`, requestId: 'g-1' });
  expect(failure.detail).toContain('not known whether the change was made');
  expect(failureOf(reply(status), 'no JSON', false).kind).toBe('problem');
});

it('429 and 401 of the gateway changed nothing', () => {
  expect(failureOf(reply(429), { message: 'Too Many Requests' }, true).kind).toBe('problem');
  expect(failureOf(reply(401), undefined, true)).toMatchObject({ kind: 'problem', code: 'http-401' });
});

it('says of a lost reply that the outcome is not known, but not of a lost read', () => {
  expect(noReply(true, 'No reply.').detail).toContain('not known');
  expect(noReply(false, 'No reply.').detail).not.toContain('not known');
});

/** The arguments that a shell passes to curl. */
function argumentsOf(command: string, env: Record<string, string>): string[] {
  const output = execFileSync('sh', ['-c', `curl() { printf '%s\\0' "$@"; }\n${command}`], { env, encoding: 'utf8' });
  return output.split('\0').slice(0, -1);
}

it('a curl command sends exactly the body, whatever it contains', () => {
  const body = { device_name: `it's "$HOME" \`id\` \\ \n ü 🛳️ 100%`, tags: { a: "'" }, mqtt_broker_id: null };
  const request = { method: 'PUT', path: '/api/v1/devices/a?x=1&y=2', body, ifMatch: '"abc"' } as const;
  const args = argumentsOf(curlOf(request, 'http://localhost:4002'), { BERTH_TOKEN: 'token' });
  expect(args.slice(0, 3)).toEqual(['-X', 'PUT', 'http://localhost:4002/api/v1/devices/a?x=1&y=2']);
  expect(args).toContain('Authorization: Bearer token');
  expect(args).toContain('If-Match: "abc"');
  expect(JSON.parse(args.at(-1) as string)).toEqual(body);
});

it('a curl command has variables instead of secrets', () => {
  const body = { name: "o'neill", password: 'swordfish', port: 1883 };
  const command = curlOf({ method: 'POST', path: '/p', body }, 'https://b', { password: 'BROKER_PASSWORD' });
  expect(command).not.toContain('swordfish');
  const args = argumentsOf(command, { BERTH_TOKEN: 't', BROKER_PASSWORD: 'from the shell' });
  expect(JSON.parse(args.at(-1) as string)).toEqual({ ...body, password: 'from the shell' });
});

it.each([
  [{ required: true }, '', 'is required'],
  [{}, '', undefined],
  [{ type: 'integer', min: 1, max: 65_535 }, '0', 'must be a whole number from 1 to 65535'],
  [{ type: 'integer', min: 1, max: 65_535 }, '1.5', 'must be a whole number from 1 to 65535'],
  [{ type: 'integer', min: 1, max: 65_535 }, 'x', 'must be a whole number from 1 to 65535'],
  [{ type: 'integer', min: 1, max: 65_535 }, '65535', undefined],
  [{ maxLength: 2 }, '🛳🛳', undefined],
  [{ maxLength: 2 }, 'abc', 'must have at most 2 characters'],
  [{ enum: ['mqtt', 'ws'] }, 'http', 'must be one of mqtt, ws'],
  [{ pattern: '^[^\\u0000]*\\S[^\\u0000]*$' }, '  ', 'must not be blank'],
])('the rule %o says of %o: %s', (rule, text, expected) => {
  expect(complaintOf(rule, text)).toBe(expected);
});

it('the rules of forms are those of the specs', () => {
  expect(NewBroker.port).toEqual({ type: 'integer', required: true, min: 1, max: 65_535, description: 'TCP port' });
  expect(NewBroker.protocol).toMatchObject({ enum: ['mqtt', 'mqtts', 'ws', 'wss'] });
  expect(NewBroker.name).toMatchObject({ required: true, minLength: 1, maxLength: 255 });
  expect(NewBroker.password).toMatchObject({ nullable: true, maxLength: 1024 });
  expect(DeviceChange.mqtt_broker_id).toMatchObject({ type: 'integer', nullable: true, min: 1 });
  expect(GetDevicesQuery.search).toMatchObject({ maxLength: 255 });
});
