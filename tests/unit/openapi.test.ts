import { fileURLToPath } from 'node:url';
import { createConfig, lint } from '@redocly/openapi-core';
import { expect, it } from 'vitest';
import { document } from '../support/openapi.ts';

type Content = Record<string, { schema: object }>;

it('docs/openapi.json passes the recommended rules of Redocly', async () => {
  const rules = {
    // The local stack is the only known server.
    'no-server-example.com': 'off',
    // At API Gateway, a literal segment (/devices/bulk-assign) wins over a parameter, and no device can have that uuid.
    'no-ambiguous-paths': 'off',
  } as const;
  const config = await createConfig({ extends: ['recommended'], rules });
  const problems = await lint({ ref: fileURLToPath(new URL('../../docs/openapi.json', import.meta.url)), config });
  const found = problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`);
  // Anyone may read the document itself: nothing about a request can be wrong.
  const isOfDocument = (one: string) => /^operation-4xx-response: .*\/paths\/~1api~1v1~1openapi\.json\//.test(one);
  expect(found.filter((one) => !isOfDocument(one))).toEqual([]);
});

it('every JSON body is a named schema, and every name is used', () => {
  const text = JSON.stringify(document);
  for (const { requestBody, responses } of Object.values<object>(document.paths).flatMap(Object.values)) {
    for (const one of [requestBody, ...Object.values<{ content?: Content }>(responses)]) {
      const schema = one?.content?.['application/json']?.schema;
      if (schema) expect(Object.keys(schema), JSON.stringify(schema)).toEqual(['$ref']);
    }
  }
  for (const name of Object.keys(document.components.schemas)) expect(text).toContain(`"#/components/schemas/${name}"`);
});
