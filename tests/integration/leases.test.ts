import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { query } from '../../lib/database/db.ts';
import { isHeld, type Lease, releaseLease, takeLease } from '../../lib/database/leases.ts';
import { type Berth, startBerth } from '../support/berth.ts';
import { contextFor } from '../support/bulk.ts';

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth.stop());
beforeEach(() => berth.sql('truncate leases'));
afterEach(() => {
  vi.useRealTimers();
});

const take = (holder: string, seconds = 60) => takeLease(contextFor(5_000), 'x', holder, seconds);
const endLease = () => berth.sql('update leases set until = now()');
const row = async () => (await berth.sql('select holder, epoch::int, until from leases'))[0];

it('one holder has a lease until it ends; the next holder gets a higher epoch', async () => {
  expect(await take('a', 0.3)).toEqual({ name: 'x', holder: 'a', epoch: 1 });
  expect(await take('b')).toBeUndefined();
  await sleep(400);
  expect(await take('b')).toEqual({ name: 'x', holder: 'b', epoch: 2 });
  expect(await take('a')).toBeUndefined();
});

it('leases of different names are independent', async () => {
  expect(await takeLease(contextFor(5_000), 'x', 'a', 60)).toMatchObject({ epoch: 1 });
  expect(await takeLease(contextFor(5_000), 'y', 'b', 60)).toMatchObject({ epoch: 1 });
});

it('a holder that takes its lease again, as after a lost reply, renews it and keeps the epoch', async () => {
  await take('a', 1);
  const before = await row();
  expect(await take('a', 60)).toMatchObject({ epoch: 1 });
  expect((await row())?.until.getTime()).toBeGreaterThan(before?.until.getTime() + 50_000);
});

it('a holder that takes its lease again after the end gets a higher epoch', async () => {
  await take('a');
  await endLease();
  expect(await take('a')).toMatchObject({ epoch: 2 });
});

it('a released lease is free, and its epoch continues', async () => {
  const lease = (await take('a')) as Lease;
  await releaseLease(contextFor(5_000), lease);
  await releaseLease(contextFor(5_000), lease);
  expect(await take('b')).toMatchObject({ epoch: 2 });
});

it.each(['b', 'a'])('releasing a lease that %s has taken over changes nothing', async (next) => {
  const lease = (await take('a')) as Lease;
  await endLease();
  await take(next);
  const before = await row();
  await releaseLease(contextFor(5_000), lease);
  expect(await row()).toEqual(before);
});

it.each(['a new lease', 'a lease that has ended'])('ten simultaneous takers of %s: one gets it', async (state) => {
  if (state !== 'a new lease') {
    await take('before');
    await endLease();
  }
  const instances: Awaited<ReturnType<typeof anotherInstance>>[] = [];
  while (instances.length < 10) instances.push(await anotherInstance());
  const leases = await Promise.all(
    instances.map((instance, n) => instance.takeLease(contextFor(5_000), 'x', `holder-${n}`, 60)),
  );
  await Promise.all(instances.map((instance) => instance.closeDatabase()));
  expect(leases.filter(Boolean)).toHaveLength(1);
  expect(await row()).toMatchObject({ holder: leases.find(Boolean)?.holder });
});

it.each([-86_400_000, 86_400_000])('a clock that is wrong by %i ms changes nothing', async (ms) => {
  const began = Date.now();
  vi.useFakeTimers({ toFake: ['Date'], now: began + ms });
  expect(await take('a', 60)).toMatchObject({ epoch: 1 });
  expect(await take('b', 60)).toBeUndefined();
  const { until } = (await row()) as { until: Date };
  expect(until.getTime() - began).toBeGreaterThan(59_000);
  expect(until.getTime() - began).toBeLessThan(70_000);
});

it('a refused caller does not wait for a statement of the holder', async () => {
  await take('a');
  const holder = await session();
  await holder.query(`begin; select from leases for update`);
  expect(await takeLease(contextFor(1_000), 'x', 'b', 60)).toBeUndefined();
  await holder.end();
});

it('nobody takes over before a statement commits that holds the lease, even after the end of the lease', async () => {
  await take('a', 0.2);
  const holder = await session();
  await holder.query(`begin; select from leases lease where until > now() for update of lease`);
  await sleep(300);
  const taken = take('b');
  await sleep(100);
  await holder.query(`update leases set until = clock_timestamp() + interval '1 minute'; commit`);
  await holder.end();
  expect(await taken).toBeUndefined();
});

it('isHeld is true for the holder with the current epoch until the lease ends, and for nobody else', async () => {
  const held = async (lease: Lease) => {
    const rows = await query(contextFor(5_000), (sql) => sql`select from leases lease where ${isHeld(sql, lease)}`);
    return rows.length === 1;
  };
  const lease = (await take('a')) as Lease;
  expect(await held(lease)).toBe(true);
  expect(await held({ ...lease, epoch: 2 })).toBe(false);
  expect(await held({ ...lease, holder: 'b' })).toBe(false);
  expect(await held({ ...lease, name: 'y' })).toBe(false);
  await endLease();
  expect(await held(lease)).toBe(false);
});

async function session(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: berth.databaseUrl });
  await client.connect();
  return client;
}

/** Another copy of the modules, with its own connection, like another Lambda instance. */
async function anotherInstance() {
  vi.resetModules();
  const { takeLease } = await import('../../lib/database/leases.ts');
  const { closeDatabase } = await import('../../lib/database/db.ts');
  return { takeLease, closeDatabase };
}
