import fc from 'fast-check';
import type { Call } from './api.ts';
import type { JsonSchema, Operation, Parameter } from './openapi.ts';

/** Existing values by member or parameter name, so that generated requests hit existing rows. */
export type KnownValues = Record<string, unknown[]> & { credentials: Record<string, string>[] };

/** Draws a value; created by `fc.gen()`. */
export type Draw = fc.GeneratorValue;

export type Request = { operation: Operation; params: Record<string, string>; options: Call };

/** `POST /api/v1/…` with the path parameters filled in. */
export function targetOf({ operation: { method, path }, params }: Request): string {
  return `${method} ${path.replace(/\{(\w+)\}/g, (_, name) => encode(params[name] ?? ''))}`;
}

/** Draws a request for the operation: half are valid by the document, half have one to three mutations. */
export function drawRequest(g: Draw, operation: Operation, known: KnownValues): Request {
  const request = drawValid(g, operation, known);
  return g(fc.boolean) ? mutate(g, request) : request;
}

function drawValid(g: Draw, operation: Operation, known: KnownValues): Request {
  const value = ({ name, schema }: Parameter) => String(useKnown(g, name, g(valuesOf, schema), known));
  const params = operation.parameters
    .filter((one) => one.in === 'path')
    .map((one) => [one.name, value({ ...one, name: idName(operation.path, one.name) })] as const);
  const query = operation.parameters
    .filter((one) => one.in === 'query' && (one.required || g(fc.boolean)))
    .map((one) => [one.name, value(one)] as const);
  const body = operation.body && useKnown(g, '', g(valuesOf, operation.body), known);
  return {
    operation,
    params: Object.fromEntries(params),
    options: {
      headers: drawHeaders(g, operation, known),
      ...(query.length > 0 ? { query: Object.fromEntries(query) } : {}),
      ...(body === undefined ? {} : { body }),
      base64: g(fc.boolean),
      ip: drawAddress(g),
    },
  };
}

/** `/mqtt/brokers/{id}` → `mqtt/brokers.id`: each collection has its own ids. */
function idName(path: string, name: string): string {
  return name === 'id' ? `${path.replace(/^\/api\/v1\/|\/\{.*$/g, '')}.id` : name;
}

function drawHeaders(g: Draw, { security }: Operation, known: KnownValues): Record<string, string> {
  const fitting = known.credentials.filter(({ scheme }) => security.includes(scheme as string));
  const { scheme: _, ...credential } = g(
    fc.constantFrom<Record<string, string>[]>,
    ...(g(oneIn, 5) || fitting.length === 0 ? known.credentials : fitting),
  );
  const ifMatch = g(oneIn, 4) ? { 'if-match': g(fc.constantFrom, '*', '"x"', 'W/"x"', '', ',,', '"a", "b"') } : {};
  const accept = g(oneIn, 4) ? { accept: g(fc.constantFrom, 'text/csv', '*/*', 'application/json', '') } : {};
  const once = g(oneIn, 4) ? { 'idempotency-key': g(fc.constantFrom, 'a', 'b', '', 'x'.repeat(300), '\u00e9') } : {};
  return { ...credential, ...ifMatch, ...accept, ...once };
}

/** Most requests share one address, which soon reaches the limits (429); the others have random addresses. */
function drawAddress(g: Draw): string {
  const [a = 0, b = 0, c = 0] = g(fc.tuple<number[]>, byte, byte, byte);
  return g(oneIn, 5) ? `10.${a}.${b}.${c}` : '198.51.100.7';
}

const byte = fc.nat(255);
const oneIn = (n: number) => fc.nat(n - 1).map((drawn) => drawn === 0);

/** Replaces most values for which known ones exist. */
function useKnown(g: Draw, name: string, value: unknown, known: KnownValues): unknown {
  const values = known[name];
  if (values && values.length > 0 && !g(oneIn, 5)) return values[g(fc.nat, values.length - 1)];
  if (Array.isArray(value)) return value.map((item) => useKnown(g, name.replace(/s$/, ''), item, known));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, useKnown(g, key, member, known)]));
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
const MALFORMED_BODIES = [
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

/** Applies one to three random mutations to a request. */
function mutate(g: Draw, request: Request): Request {
  const times = g(fc.integer, { min: 1, max: 3 });
  let mutated = request;
  for (let n = 0; n < times; n++) mutated = g(fc.constantFrom, ...MUTATIONS)(g, mutated);
  return mutated;
}

type Mutation = (g: Draw, request: Request) => Request;

const HEADERS = ['content-type', 'if-none-match', 'x-provisioning-key'];
const oddMember: Mutation = (g, request) =>
  withBody(
    request,
    replaceMember(g, request.options.body, () => g(odd)),
  );
const MUTATIONS: Mutation[] = [
  oddMember,
  oddMember,
  (g, request) =>
    withBody(
      request,
      replaceMember(g, request.options.body, () => undefined),
    ),
  (g, request) => withBody(request, { ...asObject(request.options.body), [g(fc.constantFrom, ...TEXTS)]: g(odd) }),
  (g, request) => withBody(request, g(fc.constantFrom, ...MALFORMED_BODIES)),
  (g, request) => withBody(request, JSON.stringify(request.options.body ?? {}).slice(0, g(fc.nat, 60))),
  (g, request) => withBody(request, JSON.stringify(g(odd))),
  (_, request) => withBody(request, nestedArrays(2_000)),
  (g, request) => ({ ...request, params: mapValues(request.params, () => oddText(g)) }),
  (g, request) => withOptions(request, { query: withOddText(g, request.options.query, TEXTS.slice(1)) }),
  (g, request) => withOptions(request, { headers: withOddText(g, request.options.headers, HEADERS) }),
  (g, request) => {
    const { headers, body } = request.options;
    const form = new URLSearchParams(mapValues(asObject(body), asText)).toString();
    return withOptions(request, {
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
      body: g(fc.boolean) ? form : body,
    });
  },
];

function withOptions(request: Request, options: Call): Request {
  return { ...request, options: { ...request.options, ...options } };
}

function withBody(request: Request, body: unknown): Request {
  return withOptions(request, { body });
}

/** Sets one of the existing values, or of `names`, to an odd text. */
function withOddText(g: Draw, values: Record<string, string> = {}, names: string[]): Record<string, string> {
  return { ...values, [g(fc.constantFrom, ...Object.keys(values), ...names)]: oddText(g) };
}

function oddText(g: Draw): string {
  return asText(g(odd)) || g(fc.constantFrom, ...TEXTS);
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Encodes a path segment. A gateway passes on valid UTF-8 only, and no empty segment. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()) || '%20';
}

/** Replaces one member at any depth; a replacement of undefined removes it. */
function replaceMember(g: Draw, value: unknown, replacement: () => unknown): unknown {
  if (!isObject(value) || Object.keys(value).length === 0) return replacement();
  const key = g(fc.constantFrom, ...Object.keys(value));
  const member = isObject(value[key]) && g(fc.boolean) ? replaceMember(g, value[key], replacement) : replacement();
  const { [key]: _, ...rest } = value;
  return member === undefined ? rest : { ...rest, [key]: member };
}

function nestedArrays(levels: number): string {
  return `${'['.repeat(levels)}${']'.repeat(levels)}`;
}

function asObject(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const arbitraries = new WeakMap<JsonSchema, fc.Arbitrary<unknown>>();

/** Values that a JSON schema allows; covers the keywords that zod generates. */
export function valuesOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  const known = arbitraries.get(schema);
  if (known) return known;
  const made = makeArbitrary(schema as Parameters<typeof makeArbitrary>[0]);
  arbitraries.set(schema, made);
  return made;
}

/** What every text has as its pattern: the values drawn here match it anyway. */
const NO_NUL = '^[^\\u0000]*$';
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
  propertyNames?: { pattern?: string };
  additionalProperties?: JsonSchema;
}): fc.Arbitrary<unknown> {
  const { minLength = 0, maxLength = 1_000, minimum = INTEGER.min, maximum = INTEGER.max } = schema;
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(valuesOf));
  switch (schema.type) {
    case 'string':
      if (schema.pattern && schema.pattern !== NO_NUL) return matching(schema.pattern);
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
      if (schema.properties) {
        return fc
          .record(mapValues(schema.properties, valuesOf), { requiredKeys: (schema.required ?? []) as never[] })
          .map(spelledOnce);
      }
      return fc.dictionary(
        schema.propertyNames?.pattern ? matching(schema.propertyNames.pattern) : fc.string({ maxLength: 8 }),
        valuesOf(schema.additionalProperties ?? {}),
        { maxKeys: 3 },
      );
    default:
      return fc.jsonValue({ maxDepth: 1 });
  }
}

/** Without members in camel case whose other spelling is there, too: `maxDevices` beside `max_devices`. */
function spelledOnce(members: Record<string, unknown>): Record<string, unknown> {
  const isSecond = (name: string) =>
    /[A-Z]/.test(name) && name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`) in members;
  return Object.fromEntries(Object.entries(members).filter(([name]) => !isSecond(name)));
}

/** fast-check does not support lookaheads; the values that ours exclude are very rarely drawn. */
function matching(pattern: string): fc.Arbitrary<string> {
  return fc.stringMatching(new RegExp(pattern.replace(/^\^\(\?!.*?\$\)/, '^')), { maxLength: 40 });
}

function mapValues<A, B>(object: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
