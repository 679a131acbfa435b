import type * as z from 'zod/mini';
import * as errors from '../lib/errors.ts';
import {
  bodyTooLarge,
  databaseUnavailable,
  internal,
  invalidRequest,
  malformedJson,
  missingFields,
  type ProblemType,
  settingsUnavailable,
} from '../lib/errors.ts';
import type { Spec } from '../lib/http/endpoint.ts';
import pkg from '../package.json' with { type: 'json' };
import { Components, giveName } from './schemas.ts';

const SECURITY = {
  'provisioning-key': [{ provisioningKey: [] }, { provisioningKeyHeader: [] }],
  'device-key': [{ deviceKey: [] }, { deviceKeyHeader: [] }],
  admin: [{ admin: [] }],
  broker: [{ brokerSecret: [] }, { brokerSecretQuery: [] }],
  anyone: [],
};

const TAGS = [
  { name: 'device', description: 'For devices' },
  { name: 'devices', description: 'For operators: devices, and moving many of them' },
  { name: 'fleets', description: 'For operators: fleets with their counts' },
  { name: 'mqtt', description: 'For operators: brokers. For brokers: who may connect, and what it may do' },
  { name: 'provisioning-keys', description: 'For operators: the keys that devices register with' },
  { name: 'stats', description: 'For operators: counts per broker, and what happened over time' },
  { name: 'events', description: 'For operators: who changed what' },
  { name: 'session', description: 'For operators: what the credential may do' },
  { name: 'openapi', description: 'This document' },
];

/** Every problem of lib/errors.ts, sorted by status and code. */
export function allProblems(): ProblemType[] {
  const problems = Object.values(errors).filter((value): value is ProblemType & typeof internal => 'status' in value);
  return problems.sort((a, b) => a.status - b.status || a.code.localeCompare(b.code));
}

/** OpenAPI 3.1 of all specs of the API. */
export function openapi(all: Spec[]): object {
  const specs = all.filter(({ path }) => path.startsWith('/api/'));
  const paths: Record<string, Record<string, object>> = {};
  const components = new Components();
  for (const spec of specs) {
    const item = paths[spec.path] ?? {};
    paths[spec.path] = item;
    item[spec.method.toLowerCase()] = operation(spec, components);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Berth',
      version: pkg.version,
      summary: 'Gives every MQTT device its broker.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: 'http://localhost:4002', description: 'The local stack (npm start)' }],
    tags: TAGS.filter(({ name }) => specs.some((spec) => tagOf(spec) === name)),
    paths,
    components: {
      securitySchemes: {
        provisioningKey: { type: 'http', scheme: 'bearer', description: 'A provisioning key' },
        provisioningKeyHeader: { type: 'apiKey', in: 'header', name: 'X-Provisioning-Key' },
        deviceKey: { type: 'http', scheme: 'bearer', description: 'The device’s own key' },
        deviceKeyHeader: { type: 'apiKey', in: 'header', name: 'X-Device-API-Key' },
        admin: { type: 'http', scheme: 'bearer', description: 'The admin credential' },
        brokerSecret: { type: 'http', scheme: 'bearer', description: 'The secret of the brokers' },
        brokerSecretQuery: { type: 'apiKey', in: 'query', name: 'secret' },
      },
      schemas: { ...sorted(components.schemas), Problem: problemSchema() },
    },
  };
}

function operation(spec: Spec, components: Components): object {
  if (spec.body) giveName(spec.body, `${typeName(spec)}Body`);
  for (const { body } of Object.values(spec.replies)) if (body) giveName(body, `${typeName(spec)}Reply`);
  return {
    operationId: operationId(spec),
    tags: [tagOf(spec)],
    summary: spec.summary,
    ...(spec.description ? { description: spec.description } : {}),
    security: SECURITY[spec.auth.name],
    ...(spec.params || spec.query
      ? { parameters: [...parameters(spec.params, 'path', components), ...parameters(spec.query, 'query', components)] }
      : {}),
    ...(spec.body ? { requestBody: requestBody(spec.body, components) } : {}),
    responses: { ...replies(spec, components), ...problemReplies(problemsOf(spec)) },
  };
}

function tagOf({ path }: Spec): string {
  return (path.split('/')[3] as string).replace('.json', '');
}

function operationId({ method, path }: Spec): string {
  const words = path
    .replace('/api/v1/', '')
    .split(/[/{}.-]+/)
    .filter(Boolean);
  return [method.toLowerCase(), ...words]
    .map((word, i) => (i === 0 ? word : word[0]?.toUpperCase() + word.slice(1)))
    .join('');
}

/** `PostDeviceRegister`: what the names of a route's own schemas begin with. */
function typeName(spec: Spec): string {
  const id = operationId(spec);
  return id[0]?.toUpperCase() + id.slice(1);
}

function sorted<T>(object: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));
}

type JsonSchema = { properties?: Record<string, object>; required?: string[] };

function parameters(schema: z.ZodMiniType | undefined, place: 'path' | 'query', components: Components): object[] {
  if (!schema) return [];
  const { properties = {}, required = [] } = components.add(schema, 'input') as JsonSchema;
  return Object.entries(properties).map(([name, { description, ...property }]: [string, { description?: string }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description ? { description } : {}),
    schema: property,
  }));
}

function requestBody(schema: z.ZodMiniType, components: Components): object {
  const json = components.add(schema, 'input');
  return { required: !schema.safeParse({}).success, content: { 'application/json': { schema: json } } };
}

function replies({ replies: all }: Spec, components: Components): object {
  return Object.fromEntries(
    Object.entries(all).map(([status, { description, body, text, headers = {} }]) => [
      status,
      {
        description,
        ...(Object.keys(headers).length > 0 ? { headers: headerObjects(headers) } : {}),
        ...(body || text
          ? {
              content: {
                ...(body ? { 'application/json': { schema: components.add(body, 'output') } } : {}),
                ...(text ? { [text]: { schema: { type: 'string' } } } : {}),
              },
            }
          : {}),
      },
    ]),
  );
}

function headerObjects(headers: Record<string, string>): object {
  return Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
  );
}

/** Every problem that a route can reply with: those of its spec, and those that its auth and input imply. */
export function problemsOf({ auth, params, query, body, missing = missingFields, problems = [] }: Spec): ProblemType[] {
  const ofBody = body ? [missing, malformedJson, bodyTooLarge] : [];
  const ofInput = (params || query || body) && !ofBody.includes(invalidRequest) ? [invalidRequest] : [];
  // What anyone may read needs no secret and no database.
  const always = auth.name === 'anyone' ? [internal] : [settingsUnavailable, databaseUnavailable, internal];
  return [...auth.problems, ...ofBody, ...ofInput, ...problems, ...always];
}

/** One response per status. Its description lists the codes that a client can switch on. */
function problemReplies(all: ProblemType[]): object {
  const statuses = [...new Set(all.map(({ status }) => status))].sort();
  return Object.fromEntries(
    statuses.map((status) => {
      const here = [...new Set(all.filter((problem) => problem.status === status))];
      return [
        status,
        {
          description: here.map(({ code, title }) => `\`${code}\`: ${title}`).join('; '),
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      ];
    }),
  );
}

function problemSchema(): object {
  return {
    type: 'object',
    description: 'RFC 9457, plus the legacy service’s `error` (= title) and `message` (= detail)',
    required: ['type', 'title', 'status', 'detail', 'code', 'requestId', 'error', 'message'],
    properties: {
      type: { type: 'string', format: 'uri' },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string' },
      code: { type: 'string', enum: allProblems().map(({ code }) => code) },
      requestId: { type: 'string' },
      errors: {
        type: 'array',
        items: {
          type: 'object',
          required: ['path', 'message'],
          properties: { path: { type: 'string' }, message: { type: 'string' } },
        },
      },
      error: { type: 'string' },
      message: { type: 'string' },
    },
  };
}
