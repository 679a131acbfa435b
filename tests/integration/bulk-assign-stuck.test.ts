import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { work } from '../../functions/bulk-assign.ts';
import { reportStuckJobs } from '../../lib/bulk-assign/report-stuck-jobs.ts';
import { takeLease } from '../../lib/database/leases.ts';
import { measure } from '../../lib/metrics.ts';
import { addBroker, type Berth, startBerth } from '../support/berth.ts';
import { addDevices, contextFor, leaveOpen } from '../support/bulk.ts';

vi.mock('../../lib/metrics.ts', { spy: true });

let berth: Berth;
let target: number;
beforeAll(async () => {
  berth = await startBerth();
  target = await addBroker(berth);
  await addDevices(berth, 10);
});
afterAll(() => berth.stop());
beforeEach(async () => {
  await berth.sql('delete from bulk_assign_jobs');
  vi.clearAllMocks();
});

const MINUTE = 60_000;
const ago = (minutes: number) => new Date(Date.now() - minutes * MINUTE);
/** An open job whose times are that many minutes ago; `columns` override them. */
const jobOf = (minutes: number, columns: object = {}) =>
  leaveOpen(berth, {
    target_broker_id: target,
    created_at: ago(minutes),
    next_batch_at: ago(minutes),
    ...columns,
  });
const reported = async () => {
  await reportStuckJobs(contextFor(5_000));
  return vi.mocked(measure).mock.calls.flatMap(([{ BulkAssignStuckJobs: jobs }]) => (jobs === undefined ? [] : [jobs]));
};

it('a job without progress for ten minutes is stuck', async () => {
  await jobOf(11);
  expect(await reported()).toEqual([1]);
});

it('a job without progress is stuck although a worker holds its lease', async () => {
  const id = await jobOf(11);
  await takeLease(contextFor(5_000), `bulk-assign-job:${id}`, 'w', 2);
  expect(await reported()).toEqual([1]);
});

it.each([
  ['created nine minutes ago', 9, {}],
  ['with a batch nine minutes ago', 60, { last_batch_at: ago(9) }],
  ['that waits for max_per_minute', 60, { next_batch_at: ago(-1) }],
  ['that has ended', 60, { state: 'failed' }],
])('a job %s is not stuck, and 0 is reported', async (_, minutes, columns) => {
  await jobOf(minutes, columns);
  expect(await reported()).toEqual([0]);
});

it('a job that queues behind two others is not stuck', async () => {
  await jobOf(60, { last_batch_at: ago(1) });
  await jobOf(60, { last_batch_at: ago(1) });
  await jobOf(60);
  expect(await reported()).toEqual([0]);
});

it('each invocation of the worker reports stuck jobs, then continues them', async () => {
  await jobOf(60);
  await work({ time: '2026-01-01T00:00:00Z' }, {
    awsRequestId: 'w',
    getRemainingTimeInMillis: () => 90_000,
  } as never);
  expect(await reported()).toEqual([1, 0]);
});
