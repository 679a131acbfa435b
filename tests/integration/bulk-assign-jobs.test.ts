import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { assignUnassigned } from '../../lib/bulk-assign/assign-unassigned.ts';
import { addBroker, type Berth, startBerth } from '../support/berth.ts';
import { addDevices, assign, contextFor, leaveOpen, onJob, requestOnJob } from '../support/bulk.ts';

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
  expect((await requestOnJob('POST', id, '/resume')).status).toBe(202);
  expect(await rowOf(id)).toMatchObject({ state: 'queued', failure: null, ended_at: null });
  expect(await rowOf(other)).toEqual(before);
});

it('an open job answers 304 to its own ETag until it has changed', async () => {
  const id = await leaveOpen(berth, waiting);
  const { status, headers } = await requestOnJob('GET', id);
  expect(status).toBe(200);
  const again = () => requestOnJob('GET', id, '', { headers: { 'if-none-match': String(headers.etag) } });
  expect(await again()).toMatchObject({ status: 304, text: '', headers: { etag: headers.etag } });
  await berth.sql('update bulk_assign_jobs set moved = moved + 1 where id = $1', [id]);
  expect(await again()).toMatchObject({ status: 200, body: { moved: 1 } });
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

it('a schedule event that is delivered twice while its job is open names the same job', async () => {
  await addDevices(berth, 1);
  const first = await assignUnassigned(contextFor(5_000), 'event-1');
  expect(first).toEqual(expect.any(Number));
  expect(await assignUnassigned(contextFor(5_000), 'event-1')).toBe(first);
  expect(await assignUnassigned(contextFor(5_000), 'event-2')).toBeUndefined();
});

it('an open job of an operator does not prevent the scheduled one', async () => {
  await addDevices(berth, 1);
  await leaveOpen(berth, { ...waiting, target_broker_id: broker });
  expect(await assignUnassigned(contextFor(5_000), 'event-3')).toEqual(expect.any(Number));
});

/** A finished job with these events, in this order: [whose, type]. Each about a device of its own. */
async function history(events: ['mine' | 'other', 'moved' | 'skipped'][]) {
  const from = await addBroker(berth);
  await addDevices(berth, events.length, { mqtt_broker_id: String(broker), mqtt_broker_assigned_at: "'2026-01-01'" });
  const jobs = {
    mine: await leaveOpen(berth, { state: 'finished' }),
    other: await leaveOpen(berth, { state: 'finished' }),
  };
  for (const [n, [whose, type]] of events.entries()) {
    await berth.sql(
      `insert into device_events (type, device_uuid, device_id, from_broker_id, to_broker_id, job_id)
       select $1, uuid, id, $2::integer, mqtt_broker_id, $3::integer from devices where uuid = $4`,
      [type, from, jobs[whose], `dev-${n + 1}`],
    );
  }
  return jobs.mine;
}

it('a revert moves what its job moved: not what the job skipped, and not what another job moved meanwhile', async () => {
  const id = await history([
    ['mine', 'moved'],
    ['other', 'moved'],
    ['mine', 'skipped'],
    ['mine', 'moved'],
  ]);
  const { body } = await onJob('POST', id, '/revert');
  expect(body).toMatchObject({ state: 'finished', moved: 2, skipped: 0 });
});

it('a device that left the broker of the filter before the job is not reported as moved since', async () => {
  const [former, target] = [await addBroker(berth), await addBroker(berth)];
  await addDevices(berth, 1, {
    mqtt_broker_id: String(broker),
    mqtt_broker_assigned_at: "now() + interval '1 minute'",
  });
  await berth.sql(
    `insert into device_events (type, device_uuid, device_id, from_broker_id, to_broker_id, at)
     select 'moved', uuid, id, $1::integer, mqtt_broker_id, now() - interval '1 day' from devices`,
    [former],
  );
  const { body } = await assign(target, { filter: { broker_id: former } });
  expect(body).toMatchObject({ state: 'finished', moved: 0, skipped: 0 });
});
