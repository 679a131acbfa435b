import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { describe, expect, it } from 'vitest';
import { curlOf } from '../../panel/src/api/curl.ts';
import {
  type ApiDocument,
  credentialOf,
  fits,
  groupsOf,
  membersOf,
  problemsOf,
  type Route,
  requestOf,
  typeText,
} from '../../panel/src/data/openapi.ts';
import { document as json, operations } from '../support/openapi.ts';

/** What the API page makes of docs/openapi.json. */
const document = json as ApiDocument;
const routes = groupsOf(document).flatMap((group) => group.routes);
const named = (id: string) => routes.find(({ operationId }) => operationId === id) as Route;
const ajv = new Ajv2020({ strict: false });
(formats as unknown as (ajv: Ajv2020) => void)(ajv);
ajv.addSchema(json, 'openapi');

it('every route of the document is in exactly one group', () => {
  const shown = routes.map(({ method, path }) => `${method} ${path}`);
  expect(shown.sort()).toEqual(operations.map(({ method, path }) => `${method} ${path}`).sort());
});

describe('the example of', () => {
  it.each(routes.map((route) => [`${route.method} ${route.path}`, route] as const))(
    '%s fits the schemas',
    (_, route) => {
      const { path, body } = requestOf(route, document);
      expect(path).not.toMatch(/[{}]|undefined/);
      const values = path.split('?')[0]?.split('/') ?? [];
      for (const [index, part] of route.path.split('/').entries()) {
        const parameter = route.parameters?.find(({ name }) => part === `{${name}}`);
        if (!parameter) continue;
        const value = decodeURIComponent(values[index] ?? '');
        const isNumber = parameter.schema.type === 'integer';
        expect(ajv.validate(parameter.schema, isNumber ? Number(value) : value), value).toBe(true);
      }
      const schema = route.requestBody?.content['application/json']?.schema;
      expect(body === undefined).toBe(schema === undefined);
      if (!schema) return;
      const isValid = ajv.validate({ $ref: `openapi${schema.$ref}` }, body);
      expect(isValid, `${JSON.stringify(body)} ${ajv.errorsText()}`).toBe(true);
      expect(curlOf(requestOf(route, document), 'https://berth.example.com')).toContain(' -d ');
    },
  );
});

it('every problem of a route is listed with its status and title', () => {
  for (const route of routes) {
    const all = Object.entries(route.responses).filter(([, { content }]) => content?.['application/problem+json']);
    const codes = all.flatMap(([status, { description }]) =>
      [...description.matchAll(/`([a-z-]+)`: /g)].map(([, code]) => `${status} ${code}`),
    );
    const listed = problemsOf(route);
    expect(listed.map(({ status, code }) => `${status} ${code}`)).toEqual(codes);
    for (const { title } of listed) expect(title).toMatch(/^[^`;]+$/);
  }
  expect(problemsOf(named('putMqttBrokersId'))).toContainEqual({
    ...{ status: '400', code: 'missing-broker-fields', title: 'Missing required fields: name, host, port' },
  });
});

it('members are listed with those of objects and lists in them', () => {
  const names = membersOf({ $ref: '#/components/schemas/Registered' }, document).map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['uuid', 'mqtt', 'mqtt.brokerConfig', 'mqtt.brokerConfig.keepAlive']));
  const list = membersOf({ $ref: '#/components/schemas/GetDevicesReply' }, document).map(({ name }) => name);
  expect(list).toContain('devices[].uuid');
});

it.each([
  [{ type: 'integer', minimum: 1, maximum: 65535 }, 'integer, 1 to 65535'],
  [{ type: 'integer', minimum: 1, maximum: 2147483647 }, 'integer, at least 1'],
  [{ type: 'string', minLength: 1, maxLength: 255 }, 'string, 1 to 255 characters'],
  [{ enum: ['a', 'b'] }, '"a" or "b"'],
  [{ const: true }, 'true'],
  [{ anyOf: [{ type: 'string' }, { type: 'null' }] }, 'string or null'],
  [{ type: 'array', items: { type: 'string' }, maxItems: 20 }, 'list of string, at most 20 items'],
  [{ $ref: '#/components/schemas/Job' }, 'Job'],
])('the type of %j is "%s"', (schema, text) => {
  expect(typeText(schema, document)).toBe(text);
});

it.each([
  ['registerDevice is of devices', 'postDeviceRegister', 'BERTH_PROVISIONING_KEY'],
  ['of operators', 'getDevices', 'BERTH_TOKEN'],
  ['of brokers', 'postMqttAuthUser', 'BERTH_BROKER_SECRET'],
  ['of anybody', 'getOpenapiJson', undefined],
])('the credential of a route %s', (_, id, variable) => {
  expect(credentialOf(named(id))?.variable).toBe(variable);
});

it('a search finds routes by method, path and words, in any order and case', () => {
  const found = (search: string) => routes.filter((route) => fits(route, search)).map(({ operationId }) => operationId);
  expect(found('post BROKERS test')).toEqual(['postMqttBrokersIdTest']);
  expect(found('undo a job')).toEqual(['postDevicesBulkAssignIdRevert']);
  expect(found('')).toHaveLength(routes.length);
  expect(found('no such words')).toEqual([]);
});
