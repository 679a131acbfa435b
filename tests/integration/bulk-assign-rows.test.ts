import { beforeAll, beforeEach, expect, it } from 'vitest';
import { findJob } from '../../lib/bulk-assign/find-job.ts';
import { runBatch } from '../../lib/bulk-assign/run-batch.ts';
import { takeLease } from '../../lib/database/leases.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, useBerth } from '../support/berth.ts';
import { addDevices, assign, contextFor, leaveOpen, onJob, outcomes } from '../support/bulk.ts';

/** Which devices and events a batch takes, beside others that look alike. */
const berth = useBerth();
let one: number;
let two: number;
let three: number;
beforeAll(async () => {
  [one, two, three] = [await addBroker(berth), await addBroker(berth), await addBroker(berth)];
});
beforeEach(() =>
  berth.sql('truncate devices, device_events, operator_events, bulk_assign_jobs, leases restart identity cascade'),
);

async function batchOf(id: number, size: number) {
  const ctx = contextFor(5_000);
  const lease = await takeLease(ctx, `bulk-assign-job:${id}`, 'worker', 10);
  if (!lease) throw new Error('no lease');
  return runBatch(ctx, lease, await findJob(ctx, id), size);
}
const move = (uuid: string, brokerId: number) =>
  call(`PUT /api/v1/devices/${uuid}`, { headers: admin, body: { mqtt_broker_id: brokerId } });

/** The open job that reverts job `id`. */
async function openRevert(id: number): Promise<number> {
  const revert = await leaveOpen(berth, { reverts_job_id: id });
  await berth.sql('update bulk_assign_jobs set end_id = (select max(id) from device_events) where id = $1', [revert]);
  return revert;
}

it('422 broker-draining: a new job, although there were jobs before', async () => {
  await addDevices(berth, 1);
  expect((await assign(two)).status).toBe(200);
  const draining = await addBroker(berth, { accepts_new_devices: false });
  expect(await assign(draining)).toMatchObject({ status: 422, body: { code: 'broker-draining' } });
});

it('a device that an operator moved meanwhile is reported only if it was at the broker of the filter', async () => {
  await addDevices(berth, 2, { mqtt_broker_id: `case n when 1 then ${one} else ${two} end` });
  const id = await leaveOpen(berth, { target_broker_id: null, filter: `{"broker_id":${one}}` });
  await move('dev-1', three);
  await move('dev-2', three);
  expect(await batchOf(id, 500)).toMatchObject({ moved: 0, skipped: 1 });
});

it('a batch of a revert takes no event behind its window', async () => {
  await addDevices(berth, 2);
  // Two devices per batch: it looks at 40 ids.
  const job = await leaveOpen(berth, { target_broker_id: two, state: 'finished' });
  await berth.sql(
    `insert into device_events (type, device_uuid, device_id, to_broker_id, job_id, actor)
     select 'moved', 'dev-' || n, n, $1::int, $2::int, 'admin' from (select 1 as n) first
     union all select 'updated', 'other', null, null, null, 'admin' from generate_series(1, 50)
     union all select 'moved', 'dev-2', 2, $1::int, $2::int, 'admin'`,
    [two, job],
  );
  await berth.sql('update devices set mqtt_broker_id = $1', [two]);
  const revert = await openRevert(job);
  expect(await batchOf(revert, 2)).toMatchObject({ moved: 1 });
  expect(await batchOf(revert, 2)).toMatchObject({ moved: 1, job: { state: 'finished' } });
  expect(await outcomes(berth, revert)).toEqual({ 'moved revert': 2 });
});

it('a revert skips a device that was moved away and back since the revert began', async () => {
  await addDevices(berth, 2);
  const { body: job } = await assign(two);
  const revert = await openRevert(job.id);
  await move('dev-1', three);
  await move('dev-1', two);
  expect(await batchOf(revert, 500)).toMatchObject({ moved: 1, skipped: 1 });
});

it('200: a cancelled job is resumed although another job is reverted', async () => {
  await addDevices(berth, 2);
  const { body: reverted } = await assign(two);
  expect((await onJob('POST', reverted.id, '/revert')).status).toBe(200);
  const cancelled = await leaveOpen(berth, { target_broker_id: two, state: 'cancelled' });
  expect(await onJob('POST', cancelled, '/resume')).toMatchObject({ status: 200, body: { state: 'finished' } });
});

it('a job that fails far from its end has ended', async () => {
  // A batch of one device looks at 20 ids.
  await addDevices(berth, 30);
  const draining = await addBroker(berth, { accepts_new_devices: false });
  const id = await leaveOpen(berth, { target_broker_id: draining });
  expect(await batchOf(id, 1)).toMatchObject({ job: { state: 'failed', failure: 'broker-draining' } });
  expect((await onJob('GET', id)).body).toMatchObject({ state: 'failed', ended_at: expect.any(String) });
});
