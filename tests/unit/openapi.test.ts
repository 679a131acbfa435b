import { fileURLToPath } from 'node:url';
import { createConfig, lint } from '@redocly/openapi-core';
import { expect, it } from 'vitest';

it('docs/openapi.json satisfies a public linter’s recommended rules', async () => {
  const rules = {
    // The only server that is known here is the local stack.
    'no-server-example.com': 'off',
    // A literal segment wins over a parameter at API Gateway (/devices/bulk-assign), and no device can be named so.
    'no-ambiguous-paths': 'off',
  } as const;
  const config = await createConfig({ extends: ['recommended'], rules });
  const problems = await lint({ ref: fileURLToPath(new URL('../../docs/openapi.json', import.meta.url)), config });
  expect(problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`)).toEqual([]);
});
