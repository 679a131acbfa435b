import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { addBroker, type Berth, startBerth } from '../support/berth.ts';
import { addDevices, assign, leaveOpen, onJob } from '../support/bulk.ts';

/** What cancel, resume and revert do to the job that is named, and to no other one. */
let berth: Berth;
let broker: number;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth.stop());
beforeEach(async () => {
  await berth.sql('truncate devices, device_events, bulk_assign_jobs, leases, mqtt_broker_config cascade');
  broker = await addBroker(berth, { is_default: true });
});

const rowOf = async (id: number) => (await berth.sql('select * from bulk_assign_jobs where id = $1', [id]))[0];
const longAgo = new Date('2026-01-02T03:04:05Z');
const failed = { state: 'failed', failure: 'broker-inactive', ended_at: longAgo };
/** Its next batch is far away: resuming it moves nothing meanwhile. */
const waiting = { next_batch_at: new Date(Date.now() + 3_600_000) };

it('cancelling a job leaves other open jobs as they are', async () => {
  const [id, other] = [await leaveOpen(berth, waiting), await leaveOpen(berth, waiting)];
  const before = await rowOf(other);
  expect(await onJob('POST', id, '/cancel')).toMatchObject({ status: 200, body: { state: 'cancelled' } });
  expect((await rowOf(id))?.ended_at).toBeInstanceOf(Date);
  expect(await rowOf(other)).toEqual(before);
});

it('cancelling a cancelled job again keeps the time at which it ended', async () => {
  const id = await leaveOpen(berth, { state: 'cancelled', ended_at: longAgo });
  expect((await onJob('POST', id, '/cancel')).status).toBe(200);
  expect((await rowOf(id))?.ended_at).toEqual(longAgo);
});

it('resuming a failed job removes failure and end, and leaves other failed jobs as they are', async () => {
  const [id, other] = [
    await leaveOpen(berth, { ...failed, ...waiting }),
    await leaveOpen(berth, { ...failed, ...waiting }),
  ];
  const before = await rowOf(other);
  expect((await onJob('POST', id, '/resume', { remainingMs: 4_000 })).status).toBe(202);
  expect(await rowOf(id)).toMatchObject({ state: 'queued', failure: null, ended_at: null });
  expect(await rowOf(other)).toEqual(before);
});

it('a revert looks only at the events of its job', async () => {
  const second = await addBroker(berth);
  await addDevices(berth, 3);
  await assign(broker);
  const { body: job } = await assign(second);
  await assign(broker);
  const { body: revert } = await onJob('POST', job.id, '/revert');
  const [events] = await berth.sql(
    'select min(id)::int - 1 as start_id, max(id)::int as end_id from device_events where job_id = $1',
    [job.id],
  );
  const { start_id, end_id } = (await rowOf(revert.id)) as Record<string, unknown>;
  expect([Number(start_id), Number(end_id)]).toEqual([events?.start_id, events?.end_id]);
});
