import { describe, expect, it } from 'vitest';
import { formatJob, isOpen, type Job, STATES } from '../../lib/bulk-assign/row.ts';
import { noticeOf } from '../../lib/bulk-assign/unknown-values.ts';

/** What an operator sees of a job: its speed, the time left, and what its filter misses. */
const CREATED = new Date('2026-01-02T03:04:05Z');
const JOB: Job = {
  ...{ id: 7, state: 'running', failure: null, reason: 'why', filter: { fleet_id: 'f' }, unknown: null },
  ...{ target_broker_id: 2, target_name: 'two', reverts_job_id: null, reverts: null, reverted_by_job_id: null },
  ...{ max_per_minute: null, close_former: false, created_at: CREATED, created_by: 'admin', started_at: null },
  ...{ last_batch_at: null, ended_at: null, moved: 30, already_there: 15, skipped: 5, batches: 3, batch_size: 9 },
  ...{ worked_ms: 20_000, progress: 0.25, wait_ms: 0 },
};
const shown = (fields: Partial<Job> = {}) => formatJob({ ...JOB, ...fields });

it('the reply has these members, and nothing of the worker', () => {
  expect(shown()).toEqual({
    ...{
      id: 7,
      state: 'running',
      failure: null,
      reason: 'why',
      filter: { fleet_id: 'f' },
      unknown: null,
      notice: null,
    },
    ...{ target: { mqtt_broker_id: 2, name: 'two' }, reverts_job_id: null, reverts: null, reverted_by_job_id: null },
    ...{ max_per_minute: null, close_former: false, created_at: CREATED, created_by: 'admin', started_at: null },
    ...{ ended_at: null, moved: 30, already_there: 15, skipped: 5, batches: 3, progress: 0.25 },
    ...{ devices_per_second: 2.5, seconds_left: 60 },
  });
});

it('a revert has no target, and the time of what it reverts', () => {
  const reverts = { id: 3, created_at: '2026-01-01T00:00:00.000Z' } as Job['reverts'];
  expect(shown({ reverts_job_id: 3, reverts })).toMatchObject({
    target: null,
    notice: null,
    reverts: { id: 3, created_at: new Date('2026-01-01T00:00:00.000Z') },
  });
});

describe('the time left', () => {
  it.each([
    ['queued', 60],
    ['running', 60],
    ['finished', null],
    ['failed', null],
    ['cancelled', null],
  ] as const)('of a %s job', (state, seconds) => {
    expect(shown({ state }).seconds_left).toBe(seconds);
    expect(isOpen({ ...JOB, state })).toBe(seconds !== null);
  });

  it('is not known before the first batch, and neither is the speed', () => {
    const before = { moved: 0, already_there: 0, skipped: 0, worked_ms: 0, progress: 0 };
    expect(shown(before)).toMatchObject({ seconds_left: null, devices_per_second: null, progress: 0 });
  });

  it('is rounded up, the speed to a tenth, the progress to four places', () => {
    const fields = { moved: 1, already_there: 0, skipped: 0, worked_ms: 3_000, progress: 2 / 3 };
    expect(shown(fields)).toMatchObject({ seconds_left: 2, devices_per_second: 0.3, progress: 0.6667 });
  });
});

it('every state is open or not', () => {
  expect(STATES.filter((state) => isOpen({ ...JOB, state }))).toEqual(['queued', 'running']);
});

describe('the notice', () => {
  const NOTHING = { moved: 0, already_there: 0, skipped: 0 };

  it.each([
    ['a device matched', 'running', { moved: 1 }, null],
    ['a device was skipped', 'finished', { ...NOTHING, skipped: 1 }, null],
    ['a device was there', 'finished', { ...NOTHING, already_there: 1 }, null],
    ['no device matched', 'finished', NOTHING, 'No device matches the filter.'],
    ['the job has not looked yet', 'running', NOTHING, null],
  ] as const)('when %s (%s)', (_, state, fields, notice) => {
    expect(shown({ state, ...fields }).notice).toBe(notice);
  });

  it('of a revert says nothing', () => {
    expect(shown({ state: 'finished', ...NOTHING, reverts: { id: 3 } as never }).notice).toBeNull();
  });

  const two = { uuids: ['a', 'b'] };
  it.each([
    ['some uuids', two, { uuids: ['a'] }, 'Of the filter, 1 of 2 uuids are unknown.'],
    ['all uuids', two, { uuids: ['a', 'b'] }, 'No device matches the filter: 2 of 2 uuids are unknown.'],
    [
      'a region beside known uuids',
      { region: 'moon', ...two },
      { region: 'moon' },
      'No device matches the filter: no device is in the region "moon".',
    ],
    [
      'everything',
      { fleet_id: 'f', broker_id: 9, device_type: 't', region: 'r', tags: { a: 'b' } },
      { fleet_id: 'f', broker_id: 9, device_type: 't', region: 'r', tags: { a: 'b' } },
      'No device matches the filter: there is no fleet "f", and there is no broker 9, and no device has the type "t", and no device is in the region "r", and no device has the tag "a:b".',
    ],
  ])('before a worker has looked, when %s are unknown', (_, filter, unknown, notice) => {
    expect(noticeOf(filter as never, unknown as never, undefined)).toBe(notice);
  });

  it('after it has met a device, names unknown values without saying that nothing matches', () => {
    expect(noticeOf({ region: 'moon' } as never, { region: 'moon' }, true)).toBe(
      'Of the filter, no device is in the region "moon".',
    );
    expect(noticeOf({}, null, true)).toBeNull();
    expect(noticeOf({}, null, undefined)).toBeNull();
  });
});
