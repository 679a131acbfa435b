import { expect, it } from 'vitest';
import { loadRoutes } from '../../docs/endpoints.ts';

it('a route that works for more than 10 s cannot block others: its function has only such routes', async () => {
  const routes = (await loadRoutes()).map(({ endpoint: { spec }, functionName }) => ({
    route: `${spec.method} ${spec.path}`,
    functionName,
    isSlow: (spec.budgetMs ?? 0) > 10_000,
  }));
  const slow = new Set(routes.filter(({ isSlow }) => isSlow).map(({ functionName }) => functionName));
  expect([...slow]).toEqual([]);
  expect(routes.filter(({ functionName, isSlow }) => slow.has(functionName) && !isSlow)).toEqual([]);
});
