import fc from 'fast-check';
import type { Call } from './api.ts';
import type { JsonSchema, Operation, Parameter } from './openapi.ts';

/** Values that exist, so that generated requests find something: by the name of the member or parameter. */
export type World = Record<string, unknown[]> & { credentials: Record<string, string>[] };

/** Draws a value; `fc.gen()` makes it. */
export type Draw = fc.GeneratorValue;

export type Request = { operation: Operation; params: Record<string, string>; options: Call };

/** `POST /api/v1/…` with the parameters in their places. */
export function targetOf({ operation: { method, path }, params }: Request): string {
  return `${method} ${path.replace(/\{(\w+)\}/g, (_, name) => encode(params[name] ?? ''))}`;
}

/** A request for the operation: half of them as the document wants them, half of them spoilt somewhere. */
export function drawRequest(g: Draw, operation: Operation, world: World): Request {
  const request = drawValid(g, operation, world);
  return g(fc.boolean) ? spoil(g, request) : request;
}

function drawValid(g: Draw, operation: Operation, world: World): Request {
  const value = ({ name, schema }: Parameter) => String(enliven(g, name, g(valuesOf, schema), world));
  const params = operation.parameters
    .filter((one) => one.in === 'path')
    .map((one) => [one.name, value({ ...one, name: idName(operation.path, one.name) })] as const);
  const query = operation.parameters
    .filter((one) => one.in === 'query' && (one.required || g(fc.boolean)))
    .map((one) => [one.name, value(one)] as const);
  const body = operation.body && enliven(g, '', g(valuesOf, operation.body), world);
  return {
    operation,
    params: Object.fromEntries(params),
    options: {
      headers: drawHeaders(g, operation, world),
      ...(query.length > 0 ? { query: Object.fromEntries(query) } : {}),
      ...(body === undefined ? {} : { body }),
      base64: g(fc.boolean),
      ip: drawAddress(g),
    },
  };
}

/** `/mqtt/brokers/{id}` → `mqtt/brokers.id`: an id means another thing in every collection. */
function idName(path: string, name: string): string {
  return name === 'id' ? `${path.replace(/^\/api\/v1\/|\/\{.*$/g, '')}.id` : name;
}

function drawHeaders(g: Draw, { security }: Operation, world: World): Record<string, string> {
  const fitting = world.credentials.filter(({ scheme }) => security.includes(scheme as string));
  const { scheme: _, ...credential } = g(
    fc.constantFrom<Record<string, string>[]>,
    ...(g(oneIn, 5) ? world.credentials : fitting),
  );
  const ifMatch = g(oneIn, 4) ? { 'if-match': g(fc.constantFrom, '*', '"x"', 'W/"x"', '', ',,', '"a", "b"') } : {};
  const accept = g(oneIn, 4) ? { accept: g(fc.constantFrom, 'text/csv', '*/*', 'application/json', '') } : {};
  const once = g(oneIn, 4) ? { 'idempotency-key': g(fc.constantFrom, 'a', 'b', '', 'x'.repeat(300), '\u00e9') } : {};
  return { ...credential, ...ifMatch, ...accept, ...once };
}

/** One address for most of them, which is soon answered 429 for what is limited, and others for the rest. */
function drawAddress(g: Draw): string {
  const [a = 0, b = 0, c = 0] = g(fc.tuple<number[]>, byte, byte, byte);
  return g(oneIn, 5) ? `10.${a}.${b}.${c}` : '198.51.100.7';
}

const byte = fc.nat(255);
const oneIn = (n: number) => fc.nat(n - 1).map((drawn) => drawn === 0);

/** Puts values that exist in the place of most of those that could. */
function enliven(g: Draw, name: string, value: unknown, world: World): unknown {
  const known = world[name];
  if (known && known.length > 0 && !g(oneIn, 5)) return known[g(fc.nat, known.length - 1)];
  if (Array.isArray(value)) return value.map((item) => enliven(g, name.replace(/s$/, ''), item, world));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, enliven(g, key, member, world)]));
}

const TEXTS = [
  ...['', ' ', '\0', 'a\0b', '\ud800', '💥', '\u202e', '../..', '%00', '+', '#', "'; drop table devices; --", '$1'],
  ...['__proto__', 'constructor', 'null', 'NaN', '-1', '0', '1e9', '2147483648', '99999999999999999999', 'true'],
  ...['x'.repeat(256), 'x'.repeat(20_000), '*', '{}', '[]', 'Infinity', '0x10', '١'],
];
const ODD = fc.oneof(
  fc.constantFrom<unknown>(...TEXTS),
  fc.constantFrom<unknown>(null, true, false, 0, -0, -1, 0.5, 1e308, 2_147_483_647, 2_147_483_648, 2 ** 53, [], {}, [
    [],
  ]),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.jsonValue({ maxDepth: 2 }),
  fc.constant(JSON.parse('{"__proto__":{"a":1},"constructor":1}')),
);
const odd = () => ODD;
const SPOILED_BODIES = [
  '{',
  '[1',
  '"',
  '\ufeff{}',
  '{"a":1}{',
  'nul',
  '{"a":\u0001}',
  'a=b&c=d',
  '',
  '  ',
  '{"a":1e999}',
];

/** Makes one to three things wrong, or odd, with a request. */
function spoil(g: Draw, request: Request): Request {
  const times = g(fc.integer, { min: 1, max: 3 });
  let spoiled = request;
  for (let n = 0; n < times; n++) spoiled = g(fc.constantFrom, ...SPOILERS)(g, spoiled);
  return spoiled;
}

type Spoiler = (g: Draw, request: Request) => Request;

const oddMember: Spoiler = (g, request) =>
  withBody(
    request,
    replaceMember(g, request.options.body, () => g(odd)),
  );
const SPOILERS: Spoiler[] = [
  oddMember,
  oddMember,
  (g, request) =>
    withBody(
      request,
      replaceMember(g, request.options.body, () => undefined),
    ),
  (g, request) =>
    isObject(request.options.body)
      ? withBody(request, { ...request.options.body, [g(fc.constantFrom, ...TEXTS)]: g(odd) })
      : request,
  (g, request) => withBody(request, g(fc.constantFrom, ...SPOILED_BODIES)),
  (g, request) => withBody(request, JSON.stringify(request.options.body ?? {}).slice(0, g(fc.nat, 60))),
  (g, request) => withBody(request, JSON.stringify(g(odd))),
  (_, request) => withBody(request, deep(2_000)),
  (g, request) => ({
    ...request,
    params: mapValues(request.params, () => oddText(g)),
  }),
  (g, request) => {
    const { options } = request;
    const names = [...Object.keys(options.query ?? {}), ...TEXTS.slice(1)];
    return {
      ...request,
      options: { ...options, query: { ...options.query, [g(fc.constantFrom, ...names)]: oddText(g) } },
    };
  },
  (g, request) => {
    const { options } = request;
    const names = [...Object.keys(options.headers ?? {}), 'content-type', 'if-none-match', 'x-provisioning-key'];
    return {
      ...request,
      options: { ...options, headers: { ...options.headers, [g(fc.constantFrom, ...names)]: oddText(g) } },
    };
  },
  (g, request) => {
    const { options } = request;
    const headers = { ...options.headers, 'content-type': 'application/x-www-form-urlencoded' };
    const form = isObject(options.body) ? options.body : {};
    const text = new URLSearchParams(mapValues(form, asText));
    return { ...request, options: { ...options, headers, body: g(fc.boolean) ? text.toString() : options.body } };
  },
];

function withBody(request: Request, body: unknown): Request {
  return { ...request, options: { ...request.options, body } };
}

function oddText(g: Draw): string {
  return asText(g(odd)) || g(fc.constantFrom, ...TEXTS);
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** As a client writes it into a path: a gateway hands over nothing that isn't valid UTF-8, and no empty segment. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()) || '%20';
}

/** Replaces one member somewhere; undefined takes it out. */
function replaceMember(g: Draw, value: unknown, replacement: () => unknown): unknown {
  if (!isObject(value) || Object.keys(value).length === 0) return replacement();
  const key = g(fc.constantFrom, ...Object.keys(value));
  const member = isObject(value[key]) && g(fc.boolean) ? replaceMember(g, value[key], replacement) : replacement();
  const { [key]: _, ...rest } = value;
  return member === undefined ? rest : { ...rest, [key]: member };
}

function deep(levels: number): string {
  return `${'['.repeat(levels)}${']'.repeat(levels)}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const arbitraries = new WeakMap<JsonSchema, fc.Arbitrary<unknown>>();

/** Values that a JSON schema allows, as far as one made by zod goes. */
export function valuesOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const known = arbitraries.get(schema);
  if (known) return known;
  const made = makeArbitrary(schema as Parameters<typeof makeArbitrary>[0]);
  arbitraries.set(schema, made);
  return made;
}

const INTEGER = { min: -(2 ** 31), max: 2 ** 31 - 1 };

function makeArbitrary(schema: {
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  type?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  items?: JsonSchema;
  minItems?: number;
  properties?: Record<string, JsonSchema>;
  required?: string[];
}): fc.Arbitrary<unknown> {
  const { minLength = 0, maxLength = 1_000, minimum = INTEGER.min, maximum = INTEGER.max } = schema;
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(valuesOf));
  switch (schema.type) {
    case 'string':
      if (schema.pattern) return matching(schema.pattern);
      return fc.string({ unit: 'grapheme', minLength, maxLength: Math.min(maxLength, minLength + 20) });
    case 'integer':
      return fc.integer({ min: Math.max(minimum, INTEGER.min), max: Math.min(maximum, INTEGER.max) });
    case 'number':
      return fc.double({ min: minimum, max: maximum, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength: 5 });
    case 'object':
      return schema.properties
        ? fc.record(mapValues(schema.properties, valuesOf), { requiredKeys: (schema.required ?? []) as never[] })
        : fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 3 });
    default:
      return fc.jsonValue({ maxDepth: 1 });
  }
}

/** fast-check knows no lookahead; what one excludes is hardly ever drawn. */
function matching(pattern: string): fc.Arbitrary<string> {
  return fc.stringMatching(new RegExp(pattern.replace(/^\^\(\?!.*?\$\)/, '^')), { maxLength: 40 });
}

function mapValues<A, B>(object: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
