import { expect, it, vi } from 'vitest';

const migrateOnDeploy = vi.hoisted(() => vi.fn(async () => []));
vi.mock('../../lib/database/migrate-on-deploy.ts', () => ({ migrateOnDeploy }));
const { handler } = await import('../../functions/migrate.ts');

const context = { getRemainingTimeInMillis: () => 60_000 } as never;
const custom = (properties: object) => ({
  RequestType: 'Update',
  ResponseURL: 'data:,',
  ResourceProperties: { ServiceToken: 'arn', ...properties },
});

// Properties of a custom resource are strings.
it.each([
  ['by hand', {}, false],
  ['by hand', { allowBreaking: true }, true],
  ['by hand', { allowBreaking: false }, false],
  ['as a custom resource', custom({}), false],
  ['as a custom resource', custom({ allowBreaking: 'true' }), true],
  ['as a custom resource', custom({ allowBreaking: 'false' }), false],
])('invoked %s with %j: a breaking migration is allowed: %s', async (_, event, allowed) => {
  vi.spyOn(globalThis, 'fetch').mockResolvedValue(new Response());
  await handler(event as never, context);
  expect(migrateOnDeploy).toHaveBeenLastCalledWith(allowed, expect.any(Number));
});
