import { createServer } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { query } from '../../lib/database/db.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { serve } from '../support/serve.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/** The pauses, in ms, of a statement whose connections are all refused. */
async function pauses(random: number): Promise<number[]> {
  const closed = await serve(createServer());
  await closed.close();
  vi.stubEnv('DATABASE_URL', `postgres://berth@127.0.0.1:${closed.port}/berth`);
  vi.stubEnv('BERTH_PEPPER', 'p'.repeat(32));
  reloadSettings();
  vi.spyOn(Math, 'random').mockReturnValue(random);
  const timeouts = vi.spyOn(globalThis, 'setTimeout');
  const ctx = { requestId: 'r', sourceIp: '', actor: 'schedule' as const, deadline: Date.now() + 5_000 };
  await expect(query(ctx, (sql) => sql`select 1`)).rejects.toMatchObject({ code: 'database-unavailable' });
  // The others are limits of seconds.
  return timeouts.mock.calls.map(([, ms]) => ms ?? 0).filter((ms) => ms > 1 && ms <= 400);
}

it.each([
  ['the longest', 1, [50, 100, 200]],
  ['half of it', 0.5, [25, 50, 100]],
])('3 retries with full jitter: %s pauses', async (_, random, expected) => {
  expect(await pauses(random)).toEqual(expected);
});
