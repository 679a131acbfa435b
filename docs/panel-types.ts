type Schema = {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  description?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
};
type Parameter = { name: string; in: string; required: boolean; description?: string; schema: Schema };
type Operation = {
  operationId: string;
  security: object[];
  parameters?: Parameter[];
  requestBody?: { content: { 'application/json': { schema: Schema } } };
};
type Document = {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

const NOTE = '// Generated from the specs by `npm run generate`.\n';

/** `panel/src/api/types.ts`: a type for each schema, and for the query of each operators' route that has one. */
export function panelTypes(document: object): string {
  const { components } = document as Document;
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `export type ${name} = ${typeOf(schema)};\n`,
  );
  const queries = queriesOf(document as Document).map(([name, schema]) => `export type ${name} = ${typeOf(schema)};\n`);
  return [NOTE, ...schemas, ...queries].join('\n');
}

/**
 * `panel/src/api/constraints.ts`: what each field of operators' bodies and queries may be, so that forms check by the specs' rules
 * and explain fields in their words. One constant for each, because a page's bundle contains only those that it imports.
 */
export function panelConstraints(document: object): string {
  const all = [...bodiesOf(document as Document), ...queriesOf(document as Document)];
  const constants = all.map(
    ([name, { properties = {}, required = [] }]) =>
      `export const ${name}: Fields = ${JSON.stringify(
        Object.fromEntries(
          Object.entries(properties).map(([field, schema]) => [field, ruleOf(schema, required.includes(field))]),
        ),
        null,
        2,
      )};\n`,
  );
  return [NOTE, `import type { Fields } from './rules.ts';\n`, ...constants].join('\n');
}

function operators({ paths }: Document): Operation[] {
  return Object.values(paths)
    .flatMap((item) => Object.values(item))
    .filter(({ security }) => security.some((one) => 'admin' in one));
}

/** The bodies of operators' routes, by the names of their schemas. */
function bodiesOf(document: Document): [string, Schema][] {
  const names = operators(document).flatMap(({ requestBody }) => {
    const ref = requestBody?.content['application/json'].schema.$ref;
    return ref ? [nameOf(ref)] : [];
  });
  return [...new Set(names)].sort().map((name) => [name, document.components.schemas[name] as Schema]);
}

/** `GetDevicesQuery`: the query of each operators' route, as an object. */
function queriesOf(document: Document): [string, Schema][] {
  return operators(document).flatMap(({ operationId, parameters = [] }) => {
    const query = parameters.filter((parameter) => parameter.in === 'query');
    if (query.length === 0) return [];
    const properties = Object.fromEntries(
      query.map(({ name, schema, description }) => [name, { ...schema, description }]),
    );
    const required = query.filter((one) => one.required).map(({ name }) => name);
    const name = `${operationId[0]?.toUpperCase()}${operationId.slice(1)}Query`;
    return [[name, { type: 'object', properties, required, additionalProperties: false } as Schema]];
  });
}

/** TypeScript for a JSON schema: the subset that zod makes of the specs. */
function typeOf(schema: Schema): string {
  const { $ref, type, anyOf } = schema;
  if ($ref) return nameOf($ref);
  if (anyOf) return union(anyOf.map(typeOf));
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
  if (Array.isArray(type)) return union(type.map((one) => typeOf({ ...schema, type: one })));
  if (type === 'array') return `${parenthesised(typeOf(schema.items ?? {}))}[]`;
  if (type === 'object') return objectOf(schema);
  if (type === 'integer') return 'number';
  return type ?? 'unknown';
}

function objectOf({ properties = {}, required = [], additionalProperties }: Schema): string {
  const members = Object.entries(properties).map(([name, schema]) => {
    const { description } = schema;
    const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
    const comment = description ? `/** ${description.replaceAll('*/', '* /')} */\n` : '';
    return `${comment}${key}${required.includes(name) ? '' : '?'}: ${typeOf(schema)}`;
  });
  const open = typeof additionalProperties === 'object' || additionalProperties === true;
  const rest =
    typeof additionalProperties === 'object' && members.length === 0 ? typeOf(additionalProperties) : 'unknown';
  const all = [...members, ...(open ? [`[name: string]: ${rest}`] : [])];
  return all.length === 0 ? 'Record<string, never>' : `{\n  ${all.join(';\n').replaceAll('\n', '\n  ')};\n}`;
}

function union(types: string[]): string {
  return [...new Set(types)].join(' | ');
}

function parenthesised(type: string): string {
  return type.includes(' | ') ? `(${type})` : type;
}

function nameOf(ref: string): string {
  return ref.split('/').at(-1) as string;
}

/** The rule of a field: of what it may be beside null. */
function ruleOf(schema: Schema, required: boolean): object {
  const isNullable = schema.anyOf?.some(({ type }) => type === 'null') ?? false;
  const one = schema.anyOf?.find(({ type }) => type !== 'null') ?? schema;
  const { type, minimum, maximum, minLength, maxLength, pattern } = one;
  const description = schema.description ?? one.description;
  // The pattern of every text says that it contains no NUL, which no keyboard types.
  const hasOwnPattern = pattern !== undefined && pattern !== '^[^\\u0000]*$';
  return {
    ...(type === undefined ? {} : { type }),
    ...(required ? { required } : {}),
    ...(isNullable ? { nullable: true } : {}),
    ...(one.enum ? { enum: one.enum } : {}),
    ...(minimum === undefined ? {} : { min: minimum }),
    ...(maximum === undefined ? {} : { max: maximum }),
    ...(minLength === undefined ? {} : { minLength }),
    ...(maxLength === undefined ? {} : { maxLength }),
    ...(hasOwnPattern ? { pattern } : {}),
    ...(description ? { description } : {}),
  };
}
