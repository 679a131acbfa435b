/** A JSON schema, as far as the document uses it. */
export type Schema = {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: boolean | Schema;
  description?: string;
  default?: unknown;
  examples?: unknown[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
  format?: string;
};
export type Parameter = { name: string; in: 'path' | 'query'; required: boolean; description?: string; schema: Schema };
type Content = Record<string, { schema: Schema }>;
type Response = { description: string; content?: Content; headers?: Record<string, { description?: string }> };
type Operation = {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  security: Record<string, unknown>[];
  parameters?: Parameter[];
  requestBody?: { content: Content };
  responses: Record<string, Response>;
};

/** `GET /api/v1/openapi.json`. */
export type ApiDocument = {
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Route = Operation & { method: Method; path: string };
export type Problem = { status: string; code: string; title: string };
/** A member of an object, `a.b` for a nested one and `a[]` for the items of a list. */
export type Member = { name: string; schema: Schema; isRequired: boolean };

const METHODS: Method[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** The routes by tag, each group by path. */
export function groupsOf({ tags, paths }: ApiDocument): { name: string; description: string; routes: Route[] }[] {
  const routes = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, one]) => ({ ...one, method: method.toUpperCase() as Method, path })),
  );
  const rank = (one: Route) => METHODS.indexOf(one.method);
  routes.sort((a, b) => (a.path === b.path ? rank(a) - rank(b) : a.path < b.path ? -1 : 1));
  return tags.map((tag) => ({ ...tag, routes: routes.filter((one) => one.tags.includes(tag.name)) }));
}

/** Whether a route has every word of a search in its method, path, summary or description. */
export function fits({ method, path, summary, description }: Route, search: string): boolean {
  const text = `${method} ${path} ${summary} ${description ?? ''}`.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** The problems of a route: OpenAPI has one response for a status, whose description lists `code`: title. */
export function problemsOf({ responses }: Route): Problem[] {
  return Object.entries(responses).flatMap(([status, { description, content }]) =>
    content?.['application/problem+json']
      ? [...description.matchAll(/`([^`]+)`: (.*?)(?=; `|$)/g)].map(([, code = '', title = '']) => ({
          status,
          code,
          title,
        }))
      : [],
  );
}

/** What a schema stands for, and the name that it has, if any. */
export function resolved(schema: Schema, { components }: ApiDocument): { schema: Schema; name: string | undefined } {
  const name = schema.$ref?.split('/').at(-1);
  return { schema: (name === undefined ? schema : components.schemas[name]) ?? {}, name };
}

/** How deep members of members are listed. */
const MAX_DEPTH = 3;

/** The members of a schema, also of its objects and lists. */
export function membersOf(schema: Schema, document: ApiDocument, prefix = '', depth = 0): Member[] {
  const { schema: own } = resolved(schema, document);
  const alternatives = (own.anyOf ?? []).filter(({ type }) => type !== 'null');
  if (alternatives.length === 1) return membersOf(alternatives[0] as Schema, document, prefix, depth);
  if (own.items) return membersOf(own.items, document, `${prefix}[]`, depth);
  return Object.entries(own.properties ?? {}).flatMap(([member, one]) => {
    const name = prefix ? `${prefix}.${member}` : member;
    const isRequired = own.required?.includes(member) ?? false;
    const inner = depth < MAX_DEPTH ? membersOf(one, document, name, depth + 1) : [];
    return [{ name, schema: one, isRequired }, ...inner];
  });
}

/** The type of a value in words: `integer, 1 to 65535`. */
export function typeText(schema: Schema, document: ApiDocument): string {
  const { schema: own, name } = resolved(schema, document);
  if (own.const !== undefined) return JSON.stringify(own.const);
  if (own.enum) return own.enum.map((one) => JSON.stringify(one)).join(' or ');
  if (own.anyOf) return [...new Set(own.anyOf.map((one) => typeText(one, document)))].join(' or ');
  const types = [own.type ?? 'any'].flat();
  if (types.includes('array'))
    return `list of ${own.items ? typeText(own.items, document) : 'any'}${bounds(own.minItems, own.maxItems, 'items')}`;
  if (types.includes('object')) return name ?? 'object';
  return `${own.format ?? types.join(' or ')}${bounds(own.minimum, own.maximum)}${bounds(own.minLength, own.maxLength, 'characters')}`;
}

/** Bounds that a client cannot reach by accident say nothing. */
function bounds(least: number | undefined, most: number | undefined, unit = ''): string {
  const hasMost = most !== undefined && most < 2 ** 31 - 1;
  const hasLeast = least !== undefined && least > -(2 ** 31);
  const after = unit && ` ${unit}`;
  if (hasMost && hasLeast) return `, ${least} to ${most}${after}`;
  if (hasMost) return `, at most ${most}${after}`;
  return hasLeast ? `, at least ${least}${after}` : '';
}

/** An example of a value that the schema allows. Of objects, what is required, or the first member. */
export function sampleOf(schema: Schema, document: ApiDocument, name = ''): unknown {
  const { schema: own } = resolved(schema, document);
  const given = own.const ?? own.examples?.[0] ?? own.default ?? own.enum?.[0];
  if (given !== undefined) return given;
  if (own.anyOf) return sampleOf(own.anyOf[0] as Schema, document, name);
  const [type] = [own.type ?? 'object'].flat();
  if (type === 'integer' || type === 'number') return Math.max(own.minimum ?? 1, 1);
  if (type === 'boolean') return true;
  if (type === 'null') return null;
  if (type === 'array') return own.items ? [sampleOf(own.items, document, name)] : [];
  if (type === 'string') return textSample(own, name);
  const { properties = {}, required = [] } = own;
  const members = required.length > 0 ? required : Object.keys(properties).slice(0, 1);
  return Object.fromEntries(members.map((one) => [one, sampleOf(properties[one] ?? {}, document, one)]));
}

const TEXTS: Record<string, string> = {
  uuid: 'test-123',
  host: 'mqtt.example.com',
  id: '00000000-0000-4000-8000-000000000000',
  fleetId: 'line-1',
  deviceApiKey: 'the-key-of-the-device',
};

function textSample({ format, minLength = 0 }: Schema, name: string): string {
  if (format === 'date-time') return '2026-01-01T00:00:00Z';
  if (format === 'uuid') return TEXTS.id as string;
  return (TEXTS[name] ?? name.replace(/([A-Z])/g, ' $1').toLowerCase()).padEnd(minLength, 'x');
}

/** Who may call a route, and the variable that stands for the credential in a command; undefined: anybody. */
export function credentialOf({ security }: Route): { who: string; variable: string } | undefined {
  const scheme = Object.keys(security[0] ?? {})[0];
  return scheme === undefined ? undefined : CREDENTIALS[scheme];
}

const CREDENTIALS: Record<string, { who: string; variable: string }> = {
  admin: { who: 'The admin credential', variable: 'BERTH_TOKEN' },
  provisioningKey: { who: 'A provisioning key', variable: 'BERTH_PROVISIONING_KEY' },
  deviceKey: { who: 'The device’s own key', variable: 'BERTH_DEVICE_KEY' },
  brokerSecret: { who: 'The secret of the brokers', variable: 'BERTH_BROKER_SECRET' },
};

/** A request that the route accepts, as far as the document says. */
export function requestOf(route: Route, document: ApiDocument): { method: Method; path: string; body?: object } {
  const { method, parameters = [], requestBody } = route;
  const path = route.path.replace(/\{(\w+)\}/g, (_all, name: string) => {
    const parameter = parameters.find((one) => one.in === 'path' && one.name === name);
    return encodeURIComponent(String(sampleOf(parameter?.schema ?? {}, document, name)));
  });
  const query = parameters
    .filter((one) => one.in === 'query' && one.required)
    .map(({ name, schema }) => `${name}=${encodeURIComponent(String(sampleOf(schema, document, name)))}`);
  const schema = requestBody?.content['application/json']?.schema;
  return {
    method,
    path: query.length > 0 ? `${path}?${query.join('&')}` : path,
    ...(schema ? { body: sampleOf(schema, document) as object } : {}),
  };
}
