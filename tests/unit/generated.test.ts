import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadRoutes } from '../../docs/endpoints.ts';
import { generated } from '../../docs/generate.ts';
import { problemsOf } from '../../docs/openapi.ts';

const files = (await generated()).map((file) => ({ ...file, name: path.basename(file.url.pathname) }));

it.each(files)('$name is up to date', ({ url, text }) => {
  expect(readFileSync(url, 'utf8'), 'run `npm run generate`').toBe(text);
});

type Functions = Record<
  string,
  { handler: string; events?: { httpApi?: string | { method: string; path: string } }[] }
>;

it('serverless.yml has exactly the routes of the specs, each with its function file', async () => {
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

it('no spec lists a problem twice, or one that its auth or input already implies', async () => {
  for (const { endpoint } of await loadRoutes()) {
    const codes = problemsOf(endpoint.spec).map(({ code }) => code);
    expect(codes, endpoint.spec.path).toEqual([...new Set(codes)]);
  }
});
