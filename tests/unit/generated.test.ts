import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadRoutes } from '../../docs/endpoints.ts';
import { generated } from '../../docs/generate.ts';
import { problemsOf } from '../../docs/openapi.ts';

it.each(await generated())('$url.pathname is what the specs and the problem table make of it', ({ url, text }) => {
  expect(readFileSync(url, 'utf8'), 'run `npm run generate`').toBe(text);
});

type Functions = Record<
  string,
  { handler: string; events?: { httpApi?: string | { method: string; path: string } }[] }
>;

it('serverless.yml routes exactly what the specs declare, each to its function file', async () => {
  const { functions } = parse(readFileSync(new URL('../../serverless.yml', import.meta.url), 'utf8')) as {
    functions: Functions;
  };
  const wired = Object.values(functions).flatMap(({ handler, events = [] }) =>
    events.flatMap(({ httpApi }) => {
      if (!httpApi) return [];
      const route = typeof httpApi === 'string' ? httpApi : `${httpApi.method.toUpperCase()} ${httpApi.path}`;
      return [`${handler}: ${route}`];
    }),
  );
  const declared = (await loadRoutes()).map(
    ({ endpoint: { spec }, functionName }) => `functions/${functionName}.handler: ${spec.method} ${spec.path}`,
  );
  expect(wired.sort()).toEqual(declared.sort());
});

it('no route lists a problem twice, or one that follows from its spec', async () => {
  for (const { endpoint } of await loadRoutes()) {
    const codes = problemsOf(endpoint.spec).map(({ code }) => code);
    expect(codes, endpoint.spec.path).toEqual([...new Set(codes)]);
  }
});
