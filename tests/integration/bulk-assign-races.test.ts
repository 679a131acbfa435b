import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { findJob } from '../../lib/bulk-assign/find-job.ts';
import { runBatch } from '../../lib/bulk-assign/run-batch.ts';
import { takeLease } from '../../lib/database/leases.ts';
import { addBroker, useBerth } from '../support/berth.ts';
import { addDevices, contextFor, leaveOpen, outcomes } from '../support/bulk.ts';

/** What happens to a job, or to a device, between the snapshot of a batch and its locks. */
const berth = useBerth();
let target: number;
beforeAll(async () => {
  target = await addBroker(berth);
});
beforeEach(() => berth.sql('truncate devices, device_events, bulk_assign_jobs, leases cascade'));
afterEach(() =>
  berth.sql(`
    drop policy if exists slow on mqtt_broker_config;
    alter table mqtt_broker_config disable row level security`),
);

async function batchOf(id: number, size: number) {
  const ctx = contextFor(5_000);
  const lease = await takeLease(ctx, `bulk-assign-job:${id}`, 'worker', 10);
  if (!lease) throw new Error('no lease');
  return runBatch(ctx, lease, await findJob(ctx, id), size);
}

/** Makes each batch wait while it looks for its target: after its snapshot, before it locks the job. */
async function slowDown(): Promise<void> {
  await berth.sql(`
    alter table mqtt_broker_config enable row level security;
    create policy slow on mqtt_broker_config using (pg_sleep(0.3) is not null)`);
}

it.each([
  ['is cancelled', `state = 'cancelled'`],
  ['must rest', `next_batch_at = now() + interval '1 minute'`],
])('a job that %s after the batch has read it, and before the batch locks it: nothing is moved', async (_, change) => {
  await addDevices(berth, 3);
  const id = await leaveOpen(berth, { target_broker_id: target });
  await slowDown();
  const batch = batchOf(id, 500);
  await sleep(150);
  await berth.sql(`update bulk_assign_jobs set ${change}`);
  expect(await batch).toBeUndefined();
  expect(await outcomes(berth, id)).toEqual({});
});

it('a device that was moved away and back while the batch waits for its row is skipped', async () => {
  await addDevices(berth, 3);
  const id = await leaveOpen(berth, { target_broker_id: target });
  const hand = new pg.Client({ connectionString: berth.databaseUrl });
  await hand.connect();
  await hand.query('begin');
  await hand.query(`update devices set mqtt_broker_assigned_at = clock_timestamp() where uuid = 'dev-2'`);
  const batch = batchOf(id, 500);
  await sleep(50);
  await hand.query('commit');
  await hand.end();
  expect(await batch).toMatchObject({ moved: 2, skipped: 1 });
  expect(await outcomes(berth, id)).toEqual({ 'moved bulk-assign': 2, 'skipped changed-since': 1 });
});

it('a paced job does not rest after a batch that moved nothing', async () => {
  // A batch of one device looks at 20 ids.
  await addDevices(berth, 30, { fleet_id: `case when n = 30 then 'fleet-b' else 'fleet-a' end` });
  const [{ first }] = (await berth.sql('select min(id)::int as first from devices')) as [{ first: number }];
  const columns = { target_broker_id: target, max_per_minute: 60, filter: '{"fleet_id":"fleet-b"}' };
  const id = await leaveOpen(berth, { ...columns, start_id: first - 1, cursor_id: first - 1 });
  expect(await batchOf(id, 1)).toMatchObject({ moved: 0, job: { state: 'running' } });
  expect(await batchOf(id, 1)).toMatchObject({ moved: 1, job: { state: 'finished' } });
});
