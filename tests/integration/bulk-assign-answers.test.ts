import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { workOn } from '../../lib/bulk-assign/worker.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, setEnv, startBerth, withTrigger } from '../support/berth.ts';
import {
  addDevices,
  assign,
  beginWithTwoBrokers,
  contextFor,
  JOBS,
  leaveOpen,
  onJob,
  outcomes,
  perBroker,
  requestJob,
  requestOnJob,
} from '../support/bulk.ts';

/** What the replies of bulk-assign say, and when. `one` is the default broker. */
let berth: Berth;
let one: number;
let two: number;
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({});
  ({ one, two } = await beginWithTwoBrokers(berth));
});

const eventsOf = async (uuid: string) =>
  (await call(`GET /api/v1/devices/${uuid}/events`, { headers: admin })).body.events;

describe('Prefer: respond-async', () => {
  it.each(['respond-async', 'handling=lenient, Respond-Async; x=1'])(
    'is 202 with the id before any device is moved, and a worker moves them: %s',
    async (prefer) => {
      await addDevices(berth, 3);
      const { status, headers, body } = await requestJob(two, { all: true }, { headers: { prefer } });
      expect({ status, applied: headers['preference-applied'], location: headers.location }).toEqual({
        status: 202,
        applied: 'respond-async',
        location: `${JOBS}/${body.id}`,
      });
      expect(body).toMatchObject({ state: 'queued', moved: 0, batches: 0 });
      expect(await perBroker(berth)).toEqual({ null: 3 });
      expect(await workOn(contextFor(10_000), body.id)).toMatchObject({ state: 'finished', moved: 3 });
    },
  );

  it('in a repeated request returns the same job, 200 when it has ended', async () => {
    await addDevices(berth, 3);
    const options = { headers: { prefer: 'respond-async', 'idempotency-key': 'night-shift' } };
    const [first, second] = [
      await requestJob(two, { all: true }, options),
      await requestJob(two, { all: true }, options),
    ];
    expect([first.status, second.status, second.body.id]).toEqual([202, 202, first.body.id]);
    await workOn(contextFor(10_000), first.body.id);
    const third = await requestJob(two, { all: true }, options);
    expect(third).toMatchObject({ status: 200, body: { id: first.body.id, state: 'finished', moved: 3 } });
    expect(third.headers['preference-applied']).toBe('respond-async');
  });

  it('applies to resume and revert', async () => {
    await addDevices(berth, 3);
    const options = { headers: { prefer: 'respond-async' } };
    const { id } = (await requestJob(two, { all: true }, options)).body;
    await requestOnJob('POST', id, '/cancel');
    const resumed = await requestOnJob('POST', id, '/resume', options);
    expect(resumed).toMatchObject({ status: 202, headers: { 'preference-applied': 'respond-async' } });
    expect(resumed.body).toMatchObject({ state: 'queued', moved: 0 });
    await workOn(contextFor(10_000), id);
    const revert = await requestOnJob('POST', id, '/revert', options);
    expect(revert).toMatchObject({ status: 202, headers: { 'preference-applied': 'respond-async' } });
    expect(await perBroker(berth)).toEqual({ [two]: 3 });
  });

  it.each([undefined, 'wait=5', 'respond-asynchronously'])(
    'another or no preference is not applied, and a short job is 200: %s',
    async (prefer) => {
      await addDevices(berth, 3);
      const { headers } = await requestJob(two, { all: true }, { headers: prefer === undefined ? {} : { prefer } });
      expect(headers).not.toHaveProperty('preference-applied');
      expect(await berth.sql('select batches from bulk_assign_jobs')).toEqual([{ batches: 1 }]);
    },
  );
});

describe('without a preference', () => {
  it('a long job is 202 after 2 s at most, and any worker can take it at once', async () => {
    await addDevices(berth, 5_000);
    await withTrigger(berth, 'before update on bulk_assign_jobs', 'perform pg_sleep(0.1)', async () => {
      const begin = Date.now();
      const { status, body } = await requestJob(two, { all: true, max_per_minute: 60_000 });
      expect(Date.now() - begin).toBeLessThan(2_400);
      expect({ status, state: body.state }).toEqual({ status: 202, state: 'running' });
      expect(body.moved).toBeGreaterThan(0);
      expect(await berth.sql('select until > now() as held from leases')).toEqual([{ held: false }]);
    });
  });

  it('a batch that waits for a lock does not delay the reply', async () => {
    await addDevices(berth, 10);
    await withTrigger(berth, 'before update on devices', 'perform pg_sleep(0.5)', async () => {
      const begin = Date.now();
      expect((await requestJob(two)).status).toBe(202);
      expect(Date.now() - begin).toBeLessThan(2_400);
    });
  });
});

describe('a reason', () => {
  it('is stored, and shown in the job, the list of jobs and the events of the devices', async () => {
    await addDevices(berth, 2, { mqtt_broker_id: String(two) });
    const { body } = await assign(null, { all: true, reason: 'two is retired' });
    expect(body).toMatchObject({ reason: 'two is retired', moved: 2 });
    const list = await call(`GET ${JOBS}`, { headers: admin });
    expect(list.body.jobs[0].reason).toBe('two is retired');
    expect(await eventsOf('dev-1')).toMatchObject([
      { type: 'moved', reason: 'bulk-assign', job_id: body.id, job_reason: 'two is retired' },
    ]);
    const revert = await onJob('POST', body.id, '/revert', { body: { reason: 'too early' } });
    expect(revert.body).toMatchObject({ reason: 'too early', reverts: { reason: 'two is retired' } });
    expect((await eventsOf('dev-1'))[0]).toMatchObject({ reason: 'revert', job_reason: 'too early' });
  });

  it('is optional, and null in the events of a single move, which have one of their own', async () => {
    await addDevices(berth, 1);
    expect((await assign(two)).body.reason).toBeNull();
    await call('PUT /api/v1/devices/dev-1', { headers: admin, body: { mqtt_broker_id: one, reason: 'nearer' } });
    expect(await eventsOf('dev-1')).toMatchObject([
      { reason: 'nearer', job_id: null, job_reason: null },
      { reason: 'bulk-assign', job_reason: null },
    ]);
  });

  it('has at most 1,000 characters, and is part of what an Idempotency-Key stands for', async () => {
    const reply = await assign(two, { all: true, reason: 'x'.repeat(1_001) });
    expect(reply).toMatchObject({ status: 400, body: { errors: [{ path: 'reason' }] } });
    const key = { headers: { 'idempotency-key': 'a' } };
    expect((await assign(two, { all: true, reason: 'x'.repeat(1_000) }, key)).status).toBe(200);
    expect(await assign(two, { all: true, reason: 'y' }, key)).toMatchObject({
      status: 422,
      body: { code: 'idempotency-key-reused' },
    });
  });
});

describe('devices that resolve to the target already', () => {
  /** 1: assigned to one. 2: follows the default. 3: its key says two. 4: assigned to two. 5: assigned to an inactive broker. */
  beforeEach(async () => {
    const resting = await addBroker(berth, { is_active: false });
    const { id } = await issueKey({ default_broker_id: two });
    await addDevices(berth, 5, {
      mqtt_broker_id: `(array[${one}, null, null, ${two}, ${resting}])[n]`,
      provisioned_by_key_id: `case when n = 3 then '${id}'::uuid end`,
    });
  });

  it.each([
    ['the default', () => one, 2, 3],
    ['another broker', () => two, 3, 2],
    ['null', () => null, 1, 4],
  ])('are counted apart from those that move: to %s', async (_, target, moved, there) => {
    const dry = (await assign(target(), { all: true, dry_run: true })).body;
    expect(dry).toMatchObject({ would_move: moved, already_there: there });
    expect(dry.by_broker.reduce((sum: number, { devices }: { devices: number }) => sum + devices, 0)).toBe(moved);
    expect(dry.sample).toHaveLength(moved);
    expect((await assign(target())).body).toMatchObject({ moved, already_there: there, skipped: 0 });
    expect(await perBroker(berth)).toEqual({ [String(target())]: 5 });
    // Again: all are there.
    expect((await assign(target())).body).toMatchObject({ moved: 0, already_there: 5 });
  });

  it('are listed with this outcome when they got an assignment, and a revert takes it away', async () => {
    const { body: job } = await assign(one);
    expect(await outcomes(berth, job.id)).toEqual({ 'moved bulk-assign': 2, 'moved already-there': 2 });
    const devicesWith = async (outcome: string) =>
      (await onJob('GET', job.id, '/devices', { query: { outcome } })).body.devices;
    expect(await devicesWith('already-there')).toMatchObject([
      { device_uuid: 'dev-2', outcome: 'already-there', from_broker_name: null, to_broker_name: 'one' },
      { device_uuid: 'dev-5', outcome: 'already-there' },
    ]);
    expect(await devicesWith('moved')).toMatchObject([{ device_uuid: 'dev-3' }, { device_uuid: 'dev-4' }]);
    expect((await onJob('POST', job.id, '/revert')).body).toMatchObject({ moved: 2, already_there: 1, skipped: 1 });
  });

  it('are counted only if they match', async () => {
    await addDevices(berth, 2, { uuid: "'b-' || n", fleet_id: "'fleet-b'", mqtt_broker_id: String(one) });
    for (const [filter, moved, there] of [
      [{ unassigned: true }, 1, 1],
      [{ broker_id: one }, 0, 3],
      [{ broker_id: two }, 1, 0],
      [{ uuids: ['dev-1', 'dev-4'] }, 1, 1],
      [{ uuids: ['dev-4', 'b-2'] }, 1, 1],
      [{ fleet_id: 'fleet-a', broker_id: one }, 0, 1],
      // Last, because its revert does not return the device of the inactive broker.
      [{ fleet_id: 'fleet-a' }, 2, 3],
    ] as const) {
      const dry = (await assign(one, { filter, dry_run: true })).body;
      expect(dry, JSON.stringify(filter)).toMatchObject({ would_move: moved, already_there: there });
      const { id } = (await assign(one, { filter })).body;
      expect((await onJob('GET', id)).body, JSON.stringify(filter)).toMatchObject({ moved, already_there: there });
      await onJob('POST', id, '/revert');
    }
  });

  it('are counted by a job of many batches, also when it fails in between', async () => {
    await addDevices(berth, 4_000, { uuid: "'more-' || n", mqtt_broker_id: `case when n % 2 = 0 then ${two} end` });
    const id = await leaveOpen(berth, { target_broker_id: two, batch_size: 100 });
    await workOn(contextFor(20_000), id);
    const { body } = await onJob('GET', id);
    expect(body).toMatchObject({ state: 'finished', moved: 2_003, already_there: 2_002 });
    expect(body.batches).toBeGreaterThan(1);
  });

  it('that get an assignment count for max_per_minute', async () => {
    await berth.sql('update devices set mqtt_broker_id = null, provisioned_by_key_id = null');
    const id = await leaveOpen(berth, { target_broker_id: one, max_per_minute: 60 });
    await workOn(contextFor(2_500), id);
    const { body } = await requestOnJob('GET', id);
    expect(body.already_there).toBeGreaterThan(0);
    expect(body.already_there).toBeLessThanOrEqual(3);
  });

  it('a job that fails has not passed the devices behind', async () => {
    const id = await leaveOpen(berth, { target_broker_id: two });
    await berth.sql('update mqtt_broker_config set accepts_new_devices = false where id = $1', [two]);
    expect(await workOn(contextFor(10_000), id)).toMatchObject({ state: 'failed', already_there: 0 });
    await berth.sql('update mqtt_broker_config set accepts_new_devices = true');
    expect((await onJob('POST', id, '/resume')).body).toMatchObject({ state: 'finished', moved: 3, already_there: 2 });
  });
});

describe('a filter that matches nothing', () => {
  it.each([
    [
      'fleet',
      { fleet_id: 'lnie-3' },
      { fleet_id: 'lnie-3' },
      'No device matches the filter: there is no fleet "lnie-3".',
    ],
    [
      'type',
      { device_type: 'lamp' },
      { device_type: 'lamp' },
      'No device matches the filter: no device has the type "lamp".',
    ],
    [
      'region',
      { region: 'moon' },
      { region: 'moon' },
      'No device matches the filter: no device is in the region "moon".',
    ],
    [
      'tag',
      { tags: { site: 'none' } },
      { tags: { site: 'none' } },
      'No device matches the filter: no device has the tag "site:none".',
    ],
    [
      'two of three tags',
      { tags: { site: 'berlin', hall: '2', line: '3' } },
      { tags: { hall: '2', line: '3' } },
      'No device matches the filter: no device has the tag "hall:2", and no device has the tag "line:3".',
    ],
    ['no tag, but all of them', { tags: { site: 'berlin', hall: '1' } }, null, 'No device matches the filter.'],
    ['broker', { broker_id: 99 }, { broker_id: 99 }, 'No device matches the filter: there is no broker 99.'],
    ['uuid', { uuids: ['x', 'y'] }, { uuids: ['x', 'y'] }, 'No device matches the filter: 2 of 2 uuids are unknown.'],
    [
      'fleet and uuid',
      { fleet_id: 'none', uuids: ['x', 'dev-1'] },
      { fleet_id: 'none', uuids: ['x'] },
      'No device matches the filter: there is no fleet "none", and 1 of 2 uuids are unknown.',
    ],
    ['no value', { fleet_id: 'fleet-a', unassigned: true }, null, 'No device matches the filter.'],
  ])('says so, and which value is unknown (%s), in dry run and job', async (_, filter, unknown, notice) => {
    const tags = `(array['{"site": "berlin"}', '{"hall": "1"}'])[n]::jsonb`;
    await addDevices(berth, 2, { mqtt_broker_id: String(one), tags });
    const dry = await assign(two, { filter, dry_run: true });
    expect(dry).toMatchObject({ status: 200, body: { would_move: 0, already_there: 0, unknown, notice } });
    const { status, body } = await assign(two, { filter });
    expect({ status, ...body }).toMatchObject({ status: 200, state: 'finished', moved: 0, unknown, notice });
    expect((await onJob('GET', body.id)).body).toMatchObject({ unknown, notice });
    const list = await call(`GET ${JOBS}`, { headers: admin });
    expect(list.body.jobs[0].notice).toBe(notice);
  });

  it('says so before a worker has looked, if a value is unknown', async () => {
    await addDevices(berth, 2);
    const options = { headers: { prefer: 'respond-async' } };
    const unknown = await requestJob(two, { filter: { fleet_id: 'none' } }, options);
    expect(unknown).toMatchObject({ status: 202, body: { notice: expect.stringContaining('there is no fleet') } });
    const known = { fleet_id: 'none', uuids: ['dev-1'] };
    expect((await requestJob(two, { filter: known }, options)).body.notice).toMatch(
      /^No device matches the filter: there/,
    );
    for (const filter of [{ fleet_id: 'fleet-a' }, { fleet_id: 'fleet-a', device_type: 'sensor', unassigned: true }]) {
      expect((await requestJob(two, { filter }, options)).body).toMatchObject({ unknown: null, notice: null });
    }
    const some = await requestJob(two, { filter: { uuids: ['dev-1', 'x', 'y'] } }, options);
    expect(some.body.notice).toBe('Of the filter, 2 of 3 uuids are unknown.');
  });

  it('a fleet that has provisioning keys but no device yet is not unknown', async () => {
    await issueKey({ fleet_id: undefined, fleetId: 'new' });
    const { body } = await assign(two, { filter: { fleet_id: 'new' } });
    expect(body).toMatchObject({ unknown: null, notice: 'No device matches the filter.' });
  });

  it('and was cancelled before it was worked on says nothing', async () => {
    const { id } = (await requestJob(two, { all: true }, { headers: { prefer: 'respond-async' } })).body;
    expect((await onJob('POST', id, '/cancel')).body).toMatchObject({ state: 'cancelled', notice: null });
  });
});

it('a revert shows what it reverts, without the uuids of its filter', async () => {
  await addDevices(berth, 3);
  const filter = { fleet_id: 'fleet-a', uuids: ['dev-1', 'dev-2'] };
  const { body: job } = await assign(two, { filter, reason: 'trial' });
  const { body: revert } = await onJob('POST', job.id, '/revert');
  expect(revert.reverts).toEqual({
    id: job.id,
    state: 'finished',
    reason: 'trial',
    filter: { fleet_id: 'fleet-a', uuid_count: 2 },
    target: { mqtt_broker_id: two, name: 'two' },
    moved: 2,
    already_there: 0,
    created_at: job.created_at,
    created_by: 'admin',
  });
  expect(revert).toMatchObject({ target: null, notice: null, moved: 2 });
  expect((await onJob('GET', job.id)).body.reverts).toBeNull();
  const { body: again } = await onJob('POST', revert.id, '/revert');
  expect(again.reverts).toMatchObject({ id: revert.id, target: null, filter: {} });
});

it('the name of the target is shown, also when it was deleted', async () => {
  await addDevices(berth, 1);
  const { body } = await assign(two);
  expect(body.target).toEqual({ mqtt_broker_id: two, name: 'two' });
  await berth.sql('delete from mqtt_broker_config where id = $1', [two]);
  expect((await onJob('GET', body.id)).body.target).toEqual({ mqtt_broker_id: two, name: 'two' });
  expect((await assign(null)).body.target).toEqual({ mqtt_broker_id: null, name: null });
});

describe('the time left', () => {
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

  it('of a paced job follows its limit, from the first batch on', async () => {
    await addDevices(berth, 600);
    const { body } = await requestJob(two, { all: true, max_per_minute: 60 });
    // One device a second, and about two seconds have passed.
    expect(body.seconds_left).toBeGreaterThan(550);
    expect(body.seconds_left).toBeLessThan(650);
    expect(body.devices_per_second).toBeCloseTo(1, 1);
  });

  it('after a resume does not count the time in which the job was cancelled', async () => {
    await addDevices(berth, 600);
    // 60 devices in a minute, an hour ago; since then cancelled.
    const id = await leaveOpen(berth, {
      target_broker_id: two,
      max_per_minute: 60,
      state: 'cancelled',
      started_at: minutesAgo(61),
      last_batch_at: minutesAgo(60),
      next_batch_at: minutesAgo(60),
      ended_at: minutesAgo(60),
      cursor_id: 60,
      moved: 60,
    });
    const { body } = await requestOnJob('POST', id, '/resume');
    expect(body).toMatchObject({ state: 'running' });
    expect(body.moved).toBeGreaterThan(60);
    expect(body.seconds_left).toBeGreaterThan(500);
    expect(body.seconds_left).toBeLessThan(600);
  });

  it('does not count the time between two workers', async () => {
    await addDevices(berth, 1_000);
    const id = await leaveOpen(berth, {
      target_broker_id: two,
      state: 'running',
      started_at: minutesAgo(11),
      last_batch_at: minutesAgo(10),
      next_batch_at: minutesAgo(10),
      cursor_id: 500,
      moved: 500,
    });
    await workOn(contextFor(10_000), id);
    const [row] = await berth.sql('select state, idle_ms::float8 from bulk_assign_jobs');
    expect(row?.state).toBe('finished');
    expect(row?.idle_ms).toBeGreaterThan(595_000);
    expect(row?.idle_ms).toBeLessThan(610_000);
  });

  it('does not count the time before the first batch, and rests between batches count', async () => {
    await addDevices(berth, 3);
    const id = await leaveOpen(berth, { target_broker_id: two, next_batch_at: minutesAgo(10), max_per_minute: 60 });
    await workOn(contextFor(10_000), id);
    expect(await berth.sql('select state, idle_ms::int from bulk_assign_jobs')).toEqual([
      { state: 'finished', idle_ms: 0 },
    ]);
  });
});

describe('the ids that a job looks at', () => {
  it.each([
    ['a fleet', { fleet_id: 'b' }, 11, 15],
    ['a type', { device_type: 'lamp' }, 13, 20],
    ['unassigned', { unassigned: true }, 6, 30],
    ['a broker', { broker_id: 1 }, 1, 5],
    ['a fleet and a type', { fleet_id: 'b', device_type: 'lamp' }, 13, 15],
    ['uuids', { uuids: ['dev-12'] }, 1, 30],
    ['all', undefined, 1, 30],
  ])('are those between the first and the last device that can match: %s', async (_, filter, first, last) => {
    await addDevices(berth, 30, {
      fleet_id: "case when n between 11 and 15 then 'b' else 'a' end",
      device_type: "case when n between 13 and 20 then 'lamp' else 'sensor' end",
      mqtt_broker_id: `case when n < 6 then ${one} end`,
    });
    await requestJob(two, filter ? { filter } : { all: true }, { headers: { prefer: 'respond-async' } });
    const [job] = await berth.sql('select start_id::int, cursor_id::int, end_id::int from bulk_assign_jobs');
    expect(job).toEqual({ start_id: first - 1, cursor_id: first - 1, end_id: last });
  });

  it.each([
    ['fleets that are apart', { fleet_id: 'a', device_type: 'lamp' }],
    ['an unknown fleet', { fleet_id: 'c' }],
  ])('are none: %s. The job finishes', async (_, filter) => {
    await addDevices(berth, 30, {
      fleet_id: "case when n > 15 then 'b' else 'a' end",
      device_type: "case when n > 20 then 'lamp' else 'sensor' end",
    });
    expect((await assign(two, { filter })).body).toMatchObject({ state: 'finished', moved: 0, progress: 1 });
  });
});
