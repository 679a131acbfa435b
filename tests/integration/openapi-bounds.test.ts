import { afterAll, beforeAll, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { call } from '../support/api.ts';
import { admin, type Berth, bearer, startBerth } from '../support/berth.ts';
import { createAuthority } from '../support/certificates.ts';
import { type JsonSchema, type Operation, operations } from '../support/openapi.ts';

/** For each bound of docs/openapi.json: the handlers accept the value at it, and refuse the one past it. */
const SECRET = 'secret-of-the-brokers';
const MISSING = '00000000-0000-4000-8000-000000000000';

let berth: Berth;
const certificate = await (await createAuthority('Berth tests')).issue({ commonName: 'client', hosts: ['client'] });

beforeAll(async () => {
  berth = await startBerth({
    env: { BERTH_SEAL_KEY: Buffer.alloc(32, 1).toString('base64'), BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) },
  });
});
afterAll(() => berth.stop());

/** A value at or past a bound. */
type Probe = { value: unknown; what: string; isValid: boolean };
/** A parameter or a member of the body, at any depth. */
type Place = { operation: Operation; where: 'path' | 'query' | 'body'; path: string[]; schema: JsonSchema };

/** Bodies of brokers' questions have no refused value: what is too long counts as missing, and the answer is `deny`. */
const places = operations.flatMap((operation) => [
  ...operation.parameters.map(
    ({ name, in: where, schema }): Place => ({ operation, where, path: [name], schema }) as Place,
  ),
  ...(operation.body && !operation.path.includes('/mqtt/auth/') ? members(operation, [], operation.body) : []),
]);

function members(operation: Operation, path: string[], schema: JsonSchema): Place[] {
  const {
    properties = {},
    items,
    anyOf,
  } = schema as { properties?: Record<string, JsonSchema>; items?: JsonSchema; anyOf?: JsonSchema[] };
  return [
    { operation, where: 'body', path, schema },
    ...Object.entries(properties).flatMap(([name, one]) => members(operation, [...path, name], one)),
    ...(items ? members(operation, [...path, '0'], items) : []),
    ...(anyOf ?? []).flatMap((one) => members(operation, path, one)),
  ];
}

/** The bounds of a schema as values. A branch of `anyOf` is a place of its own. */
function probesOf(place: Place): Probe[] {
  const { minLength, maxLength, minimum, maximum, minItems, maxItems, pattern, type } = place.schema as Bounds;
  const isAnyText = pattern === ANY_TEXT && !OWN_TEXT[nameOf(place)];
  const text = (length: number, isValid: boolean) => ({
    what: `${length} characters`,
    value: textOf(place, length),
    isValid,
  });
  const items = (count: number, isValid: boolean) => ({ what: `${count} items`, value: itemsOf(count), isValid });
  const number = (value: number, isValid: boolean) => ({ what: String(value), value, isValid });
  return [
    ...(maxLength === undefined ? [] : [text(maxLength, true), text(maxLength + 1, false)]),
    // A path has no empty segment, and one character is no PEM.
    ...(minLength && place.where !== 'path' ? [text(minLength - 1, false)] : []),
    ...(minLength && !OWN_TEXT[nameOf(place)] ? [text(minLength, true)] : []),
    ...(maxLength && isAnyText
      ? [{ what: `${maxLength} code points`, value: '💥'.repeat(maxLength), isValid: true }]
      : []),
    ...(pattern?.startsWith('^[^\\u0000]*') ? [{ what: 'NUL', value: 'a\0b', isValid: false }] : []),
    ...(minimum === undefined ? [] : [number(minimum, true), number(minimum - 1, false)]),
    ...(maximum === undefined ? [] : [number(maximum, true), number(maximum + 1, false)]),
    ...(type === 'integer' ? [number(1.5, false)] : []),
    ...(minItems ? [items(minItems, true), items(minItems - 1, false)] : []),
    ...(maxItems === undefined ? [] : [items(maxItems, true), items(maxItems + 1, false)]),
    ...(place.schema.enum ? [{ what: 'another word', value: 'another', isValid: false }] : []),
    ...((place.schema.enum as string[]) ?? []).map((value) => ({ what: value, value, isValid: true })),
  ];
}

const ANY_TEXT = '^[^\\u0000]*$';
type Bounds = { pattern?: string; type?: string } & Partial<
  Record<'minLength' | 'maxLength' | 'minimum' | 'maximum' | 'minItems' | 'maxItems', number>
>;
const nameOf = ({ path }: Place) => path.findLast((name) => !/^\d+$/.test(name)) ?? '';
const itemsOf = (count: number) => Array.from({ length: count }, (_, i) => `device-${i}`);
const padded = (pem: string, length: number) =>
  length < pem.length ? 'x'.repeat(length) : pem + ' '.repeat(length - pem.length);

/** Texts whose content is checked too. */
const OWN_TEXT: Record<string, (length: number) => string> = {
  host: (length) => `${'abcdefg.'.repeat(40).slice(0, Math.max(0, length - 1))}x`.slice(0, length),
  ca_cert: (length) => padded(certificate.cert, length),
  client_cert: (length) => padded(certificate.cert, length),
  client_key: (length) => padded(certificate.key, length),
};
const textOf = (place: Place, length: number) => OWN_TEXT[nameOf(place)]?.(length) ?? 'x'.repeat(length);

/** Values of required members, and of members that require each other. */
const VALID: Record<string, () => unknown> = {
  uuid: () => 'bounds',
  deviceName: () => 'Pump 7',
  deviceType: () => 'pump',
  deviceApiKey: () => 'key-of-the-device',
  name: () => `broker-${Math.random()}`,
  host: () => 'mqtt.example.com',
  port: () => 1883,
  fleetId: () => 'fleet-a',
  target: () => ({ mqtt_broker_id: null }),
  mqtt_broker_id: () => null,
  id: () => MISSING,
  is_active: () => true,
};
const COMPANIONS: Record<string, () => object> = {
  client_cert: () => ({ client_key: certificate.key }),
  client_key: () => ({ client_cert: certificate.cert }),
  ca_cert: () => ({ protocol: 'mqtts' }),
  password: () => ({ username: 'probe' }),
  filter: () => ({ dry_run: true }),
};

/** A valid request but for this value. */
function requestWith({ operation, where, path }: Place, value: unknown) {
  const { method, parameters, security } = operation;
  const values = (place: 'path' | 'query') =>
    Object.fromEntries(
      parameters
        .filter((one) => one.in === place && (one.required || (where === place && one.name === path[0])))
        .map(({ name }) => [name, String(where === place && name === path[0] ? value : parameterOf(operation, name))]),
    );
  const params = values('path');
  const target = operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name] as string));
  const valid = bodyOf(operation, where === 'body' ? path[0] : undefined);
  const headers = security.includes('admin') ? admin : bearer(security.includes('brokerSecret') ? SECRET : 'key');
  return {
    target: `${method} ${target}`,
    options: {
      headers,
      query: values('query'),
      ...(valid && { body: where === 'body' ? put(valid, path, value) : valid }),
    },
  };
}

function parameterOf({ path }: Operation, name: string): unknown {
  return name === 'id' && !path.includes('provisioning-keys') ? 2_000_000_000 : VALID[name]?.();
}

/** A valid body that this member can be added to. */
function bodyOf({ method, path, body }: Operation, member: string | undefined): object | undefined {
  if (!body) return undefined;
  const required = Object.fromEntries(((body.required as string[]) ?? []).map((name) => [name, VALID[name]?.()]));
  const isJob = path.endsWith('/bulk-assign') && method === 'POST';
  const job = isJob && member !== 'filter' ? { all: true, dry_run: true } : {};
  const canBe = (name: string) => name in (body.properties as object);
  const change = method === 'PUT' ? (canBe('is_active') ? { is_active: true } : { description: 'changed' }) : {};
  // Required in one of two spellings.
  const fleet = method === 'POST' && canBe('fleet_id') && !member?.startsWith('fleet') ? { fleetId: 'fleet-a' } : {};
  const exchange = path.endsWith('/key-exchange') ? { deviceApiKey: 'key' } : {};
  return { ...required, ...job, ...change, ...exchange, ...fleet, ...(member && COMPANIONS[member]?.()) };
}

function put(into: unknown, [name, ...rest]: string[], value: unknown): unknown {
  if (name === undefined) return value;
  const inner = put((into as Record<string, unknown> | undefined)?.[name], rest, value);
  return name === '0' ? [inner] : { ...(into as object), [name]: inner };
}

const cases = places.flatMap((place) => probesOf(place).map((probe) => ({ place, probe })));

it(`has bounds to check (${cases.length})`, () => expect(cases.length).toBeGreaterThan(300));

it.each(operations.map((operation) => ({ operation, title: `${operation.method} ${operation.path}` })))(
  '$title',
  async ({ operation }) => {
    const wrong: string[] = [];
    for (const { place, probe } of cases.filter((one) => one.place.operation === operation)) {
      const { target, options } = requestWith(place, probe.value);
      const { status, body } = await call(target, options);
      const named = ((body?.errors ?? []) as { path: string }[]).some((one) => one.path === place.path.join('.'));
      const isRefused = status === 400 && named;
      if (isRefused === probe.isValid || (probe.isValid && status === 400)) {
        wrong.push(
          `${place.where} ${place.path.join('.')}, ${probe.what}: ${status} ${JSON.stringify(body?.errors ?? body?.code)}`,
        );
      }
    }
    expect(wrong).toEqual([]);
  },
);
