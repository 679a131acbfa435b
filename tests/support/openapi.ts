import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { Answer } from './api.ts';

export type JsonSchema = Record<string, unknown>;
type Content = Record<string, { schema: JsonSchema }>;
export type Parameter = { name: string; in: 'path' | 'query' | 'header'; required: boolean; schema: JsonSchema };
type Response = { description: string; content?: Content; headers?: Record<string, unknown> };

/** A route of docs/openapi.json. */
export type Operation = {
  method: string;
  path: string;
  security: string[];
  parameters: Parameter[];
  body: JsonSchema | undefined;
  responses: Record<string, Response>;
};

/** docs/openapi.json. */
export const document = JSON.parse(readFileSync(new URL('../../docs/openapi.json', import.meta.url), 'utf8'));
const ajv = new Ajv2020({ strict: false, allErrors: true });
(formats as unknown as (ajv: Ajv2020) => void)(ajv);
ajv.addSchema(document, 'openapi');

export const operations: Operation[] = Object.entries(document.paths as Record<string, object>).flatMap(
  ([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      security: (operation.security ?? []).flatMap((one: object) => Object.keys(one)),
      parameters: operation.parameters ?? [],
      body: inlined(
        (Object.values(operation.requestBody?.content ?? {})[0] as { schema: JsonSchema } | undefined)?.schema,
      ),
      responses: operation.responses,
    })),
);

/** A schema with every reference to a named one replaced by it. */
function inlined<T>(schema: T): T {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(inlined) as T;
  const { $ref } = schema as { $ref?: string };
  if ($ref) return inlined(document.components.schemas[$ref.replace('#/components/schemas/', '')]);
  return Object.fromEntries(Object.entries(schema).map(([name, member]) => [name, inlined(member)])) as T;
}

/** How a reply (status, content type, body, code) deviates from the document; undefined if it does not. */
export function replyProblem(operation: Operation, { status, headers, text, body }: Answer): string | undefined {
  const response = operation.responses[status];
  if (!response) return `status ${status} is not documented`;
  const type = headers['content-type']?.split(';')[0];
  const documented = Object.keys(response.content ?? {});
  if (type === undefined) return text === '' && documented.length === 0 ? undefined : `status ${status} without a type`;
  if (!documented.includes(type)) return `${type} is not documented for ${status}`;
  if (type === 'application/problem+json' && !response.description.includes(`\`${body.code}\``)) {
    return `code ${body.code} is not documented for ${status}`;
  }
  if (body === undefined) return undefined;
  const pointer = [
    'paths',
    operation.path,
    operation.method.toLowerCase(),
    'responses',
    status,
    'content',
    type,
    'schema',
  ];
  const validate = ajv.getSchema(`openapi#/${pointer.map((part) => encodePart(String(part))).join('/')}`);
  if (!validate) return `no schema for ${status} ${type}`;
  return validate(body) ? undefined : ajv.errorsText(validate.errors);
}

function encodePart(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));
}
