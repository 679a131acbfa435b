import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { assignUnassigned, work } from '../../functions/bulk-assign.ts';
import { findJob } from '../../lib/bulk-assign/find-job.ts';
import { runBatch } from '../../lib/bulk-assign/run-batch.ts';
import { workOn, workOnOpenJobs } from '../../lib/bulk-assign/worker.ts';
import { type Lease, takeLease } from '../../lib/database/leases.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, setEnv, startBerth } from '../support/berth.ts';
import {
  addDevices,
  assign,
  beginWithTwoBrokers,
  contextFor,
  leaveOpen,
  onJob,
  outcomes,
  perBroker,
  requestJob,
} from '../support/bulk.ts';
import { startProxy } from '../support/tcp-proxy.ts';

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

const leaseOf = (id: number, holder: string) => takeLease(contextFor(5_000), `bulk-assign-job:${id}`, holder, 2);
const endLeases = () => berth.sql('update leases set until = now()');
/** Runs one batch under the job's lease; undefined when another worker holds it or the job cannot run. */
async function batchOf(id: number, size: number, holder = 'w') {
  const lease = await leaseOf(id, holder);
  return lease && runBatch(contextFor(5_000), lease, await findJob(contextFor(5_000), id), size);
}
const moveByHand = (uuid: string, brokerId: number | null) =>
  call(`PUT /api/v1/devices/${uuid}`, { headers: admin, body: { mqtt_broker_id: brokerId } });
const schedule = (time?: string) => [{ time } as { time: string }, lambda()] as const;
const lambda = () => ({ awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => 90_000 }) as never;

/** A batch of the previous release: the lease is in the job's columns `worker` and `leased_until`. Without events of skipped devices. */
const PREVIOUS_BATCH = `
  with job as materialized (
    select j.*, least(j.end_id, j.cursor_id + 300) as upper_id from bulk_assign_jobs j
    where j.id = $1 and j.state in ('queued', 'running') and j.next_batch_at <= now()
      and (j.worker = 'previous' or j.leased_until < now())
      and j.id in (select id from bulk_assign_jobs where state in ('queued', 'running') order by id limit 2)
    for update of j skip locked
  ), picked as materialized (
    select d.id, d.mqtt_broker_id as from_broker_id, job.created_at from devices d cross join job
    where d.id > job.cursor_id and d.id <= job.upper_id and d.mqtt_broker_id is distinct from job.target_broker_id
  ), moved as (
    update devices d set mqtt_broker_id = (select target_broker_id from job), mqtt_broker_assigned_at = now()
    from picked
    where d.id = picked.id and d.mqtt_broker_id is not distinct from picked.from_broker_id
      and (d.mqtt_broker_assigned_at is null or d.mqtt_broker_assigned_at <= picked.created_at)
    returning d.id, d.uuid
  ), recorded as (
    insert into device_events (type, device_uuid, device_id, actor, reason, to_broker_id, job_id, request_id)
    select 'moved', moved.uuid, moved.id, job.created_by, 'bulk-assign', job.target_broker_id, job.id, 'previous'
    from job cross join moved
    returning 1
  )
  update bulk_assign_jobs j
  set state = case when job.upper_id >= job.end_id then 'finished' else 'running' end, cursor_id = job.upper_id,
      started_at = coalesce(j.started_at, now()), last_batch_at = clock_timestamp(),
      moved = j.moved + (select count(*) from recorded), batches = j.batches + 1,
      worker = 'previous', leased_until = clock_timestamp() + interval '2 seconds'
  from job where j.id = job.id
  returning (select count(*)::int from recorded) as moved`;

async function session(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: berth.databaseUrl });
  client.on('error', () => {});
  await client.connect();
  return client;
}

describe('a device that an operator moves while the job runs', () => {
  it.each([
    ['all', {}],
    ['its fleet', { fleet_id: 'fleet-a' }],
    ['the broker that it left', { broker_id: 1 }],
  ])('stays where the operator put it and is reported as skipped, when the job filters by %s', async (_, filter) => {
    const three = await addBroker(berth);
    await addDevices(berth, 1_002, { mqtt_broker_id: String(one) });
    const id = await leaveOpen(berth, { target_broker_id: two, filter: JSON.stringify(filter) });
    await batchOf(id, 500);
    // One that the job has moved, one that it has not reached yet.
    await moveByHand('dev-3', three);
    await moveByHand('dev-900', three);
    await endLeases();
    expect(await workOn(contextFor(20_000), id)).toMatchObject({ state: 'finished', moved: 1_001, skipped: 1 });
    expect(await perBroker(berth)).toEqual({ [two]: 1_000, [three]: 2 });
    expect(await outcomes(berth, id)).toEqual({ 'moved bulk-assign': 1_001, 'skipped changed-since': 1 });
    const { body } = await onJob('GET', id, '/devices', { query: { outcome: 'skipped' } });
    expect(body.devices).toMatchObject([{ device_uuid: 'dev-900', from_broker_id: three, to_broker_id: two }]);
  });

  it('stays where the operator put it when that is committed while the batch runs', async () => {
    await addDevices(berth, 10, { mqtt_broker_id: String(one) });
    const id = await leaveOpen(berth, { target_broker_id: two });
    const hand = await session();
    await hand.query('begin');
    await hand.query(
      `update devices set mqtt_broker_id = null, mqtt_broker_assigned_at = clock_timestamp() where uuid = 'dev-5'`,
    );
    await hand.query(`update devices set device_name = 'renamed' where uuid = 'dev-6'`);
    const batch = batchOf(id, 500);
    await sleep(50);
    await hand.query('commit');
    await hand.end();
    expect(await batch).toMatchObject({ moved: 9, skipped: 1 });
    expect(await perBroker(berth)).toEqual({ [two]: 9, null: 1 });
    expect(await outcomes(berth, id)).toEqual({ 'moved bulk-assign': 9, 'skipped changed-since': 1 });
  });

  it('stays there also when it was moved by plain SQL, which does not set mqtt_broker_assigned_at', async () => {
    await addDevices(berth, 10, { mqtt_broker_id: String(one) });
    const id = await leaveOpen(berth, { target_broker_id: two, filter: JSON.stringify({ broker_id: one }) });
    const hand = await session();
    await hand.query('begin');
    await hand.query(`update devices set mqtt_broker_id = null where uuid = 'dev-5'`);
    const batch = batchOf(id, 500);
    await sleep(50);
    await hand.query('commit');
    await hand.end();
    expect(await batch).toMatchObject({ moved: 9 });
    expect(await perBroker(berth)).toEqual({ [two]: 9, null: 1 });
  });
});

describe('workers of a job', () => {
  it('take over when the lease of the worker before has ended', async () => {
    await addDevices(berth, 2_000);
    const id = await leaveOpen(berth, { target_broker_id: two });
    expect(await batchOf(id, 500, 'a')).toMatchObject({ moved: 500 });
    expect(await batchOf(id, 500, 'b')).toBeUndefined();
    expect(await batchOf(id, 500, 'a')).toMatchObject({ moved: 500 });
    await sleep(2_100);
    expect(await batchOf(id, 500, 'b')).toMatchObject({ moved: 500 });
    expect(await batchOf(id, 500, 'a')).toBeUndefined();
  });

  it('move nothing under a lease that has ended, was taken over, or has an earlier epoch', async () => {
    await addDevices(berth, 10);
    const id = await leaveOpen(berth, { target_broker_id: two });
    const job = await findJob(contextFor(5_000), id);
    const batchUnder = (lease: Lease | undefined) => runBatch(contextFor(5_000), lease as Lease, job, 500);
    const first = await leaseOf(id, 'a');
    await endLeases();
    expect(await batchUnder(first), 'ended').toBeUndefined();
    const second = await leaseOf(id, 'a');
    expect(await batchUnder(first), 'an earlier epoch of the same holder').toBeUndefined();
    await endLeases();
    const third = await leaseOf(id, 'b');
    expect(await batchUnder(second), 'taken over').toBeUndefined();
    expect(await perBroker(berth)).toEqual({ null: 10 });
    expect(await outcomes(berth, id)).toEqual({});
    expect(await batchUnder(third)).toMatchObject({ moved: 10 });
  });

  it('cannot take over while a batch of the holder runs, even after the end of its lease', async () => {
    await addDevices(berth, 10);
    await berth.sql(`
      create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.6); return null; end $$;
      create trigger slow before update on devices for each statement execute function slow()`);
    try {
      const id = await leaveOpen(berth, { target_broker_id: two });
      const lease = (await leaseOf(id, 'slow')) as Lease;
      const job = await findJob(contextFor(5_000), id);
      await berth.sql(`update leases set until = now() + interval '200 ms'`);
      const batch = runBatch(contextFor(5_000), lease, job, 5);
      await sleep(300);
      const taken = await berth.sql(
        `update leases set holder = 'next', until = now() + interval '1 minute' where until <= now() returning holder`,
      );
      expect(taken).toEqual([]);
      expect(await batch).toMatchObject({ moved: 5 });
      expect(await runBatch(contextFor(5_000), lease, job, 5), 'the lease was renewed').toMatchObject({ moved: 5 });
    } finally {
      await berth.sql('drop function slow cascade');
    }
  });

  it('of this and of the previous release move each device once', async () => {
    await addDevices(berth, 20_000);
    const id = await leaveOpen(berth, { target_broker_id: two });
    const previous = await session();
    const working = workOn(contextFor(30_000), id);
    let movedByPrevious = 0;
    while ((await findJob(contextFor(5_000), id)).state !== 'finished') {
      const { rows } = await previous.query(PREVIOUS_BATCH, [id]);
      movedByPrevious += rows[0]?.moved ?? 0;
      await sleep(20);
    }
    await previous.end();
    expect(await working).toMatchObject({ state: 'finished', moved: 20_000, skipped: 0 });
    expect(movedByPrevious).toBeGreaterThan(0);
    expect(movedByPrevious).toBeLessThan(20_000);
    const [events] = await berth.sql(
      'select count(*)::int as all, count(distinct device_id)::int as devices from device_events',
    );
    expect(events).toEqual({ all: 20_000, devices: 20_000 });
  });

  it('do not wait for another worker’s batch', async () => {
    await addDevices(berth, 10);
    const id = await leaveOpen(berth, { target_broker_id: two });
    const other = await session();
    await other.query('begin');
    await other.query('select from bulk_assign_jobs for update');
    expect(await batchOf(id, 500)).toBeUndefined();
    await other.query('rollback');
    await other.end();
    expect(await batchOf(id, 500)).toMatchObject({ moved: 10 });
  });

  it('do not run the third open job until one of the first two has ended', async () => {
    await addDevices(berth, 10);
    const ids = [];
    for (const fleet_id of ['none', 'none', 'fleet-a']) {
      ids.push(await leaveOpen(berth, { target_broker_id: two, filter: JSON.stringify({ fleet_id }) }));
    }
    const [first, second, third] = ids as [number, number, number];
    expect(await batchOf(third, 500)).toBeUndefined();
    expect(await requestJob(two)).toMatchObject({ status: 202, body: { state: 'queued', moved: 0 } });
    expect(await batchOf(second, 500)).toMatchObject({ job: { state: 'finished' } });
    expect(await batchOf(third, 500)).toMatchObject({ moved: 10 });
    expect((await findJob(contextFor(5_000), first)).state).toBe('queued');
  });

  it('run other jobs, such as a revert, while the first two wait for their max_per_minute', async () => {
    await addDevices(berth, 10);
    const { body: done } = await assign(two);
    expect(done).toMatchObject({ state: 'finished', moved: 10 });
    for (let n = 0; n < 2; n++) {
      const paced = await leaveOpen(berth, { target_broker_id: one, max_per_minute: 1 });
      expect(await batchOf(paced, 500)).toMatchObject({ moved: 1, job: { state: 'running' } });
    }
    expect(await batchOf(await leaveOpen(berth, { target_broker_id: one }), 500)).toMatchObject({ moved: 8 });
    expect((await onJob('POST', done.id, '/revert')).body).toMatchObject({ state: 'finished', skipped: 10 });
  });

  it('of the schedule leave a paced job while nothing of it is due: three paced jobs and three workers let a new job run', async () => {
    const [one, two] = [await addBroker(berth), await addBroker(berth)];
    await addDevices(berth, 4);
    const paced: number[] = [];
    for (let n = 0; n < 3; n++) {
      const id = await leaveOpen(berth, { target_broker_id: one, max_per_minute: 8 });
      expect(await batchOf(id, 500)).toMatchObject({ moved: 1, job: { state: 'running' } });
      paced.push(id);
    }
    await endLeases();
    const workers = paced.map(() => workOnOpenJobs(contextFor(12_000)));
    await sleep(1_000);
    const created = await leaveOpen(berth, { target_broker_id: two });
    await sleep(4_000);
    expect(await berth.sql('select state from bulk_assign_jobs where id = $1', [created])).toEqual([
      { state: 'finished' },
    ]);
    await Promise.all(workers);
  });

  it('of the schedule first run the jobs that are due, then those that wait for their max_per_minute', async () => {
    await addDevices(berth, 3);
    const paced = await leaveOpen(berth, { target_broker_id: two, max_per_minute: 60 });
    expect(await batchOf(paced, 500)).toMatchObject({ moved: 1, job: { state: 'running' } });
    await endLeases();
    const due = await leaveOpen(berth, { target_broker_id: two, filter: '{"fleet_id":"none"}' });
    await work(...schedule());
    const ended = await berth.sql('select id, state from bulk_assign_jobs order by ended_at');
    expect(ended).toEqual([
      { id: due, state: 'finished' },
      { id: paced, state: 'finished' },
    ]);
  });

  it('of two simultaneous jobs move each device once in total, and the counts add up', async () => {
    await addDevices(berth, 20_000);
    const jobs = [await leaveOpen(berth, { target_broker_id: one }), await leaveOpen(berth, { target_broker_id: two })];
    const [a, b] = await Promise.all(jobs.map((id) => workOn(contextFor(30_000), id)));
    expect([a?.state, b?.state]).toEqual(['finished', 'finished']);
    // The first job to reach a device moves it. The other one skips it as changed since.
    // `one` is the default: what the first job assigns to it was there already.
    expect([a?.moved, b?.already_there]).toEqual([0, 0]);
    const [assigned = 0, moved = 0] = [a?.already_there, b?.moved];
    expect([assigned + moved, (a?.skipped ?? 0) + (b?.skipped ?? 0)]).toEqual([20_000, 20_000]);
    expect(await perBroker(berth)).toEqual({ [one]: assigned, ...(moved ? { [two]: moved } : {}) });
  });
});

describe('the request', () => {
  it('returns 202 when its time is over, and the schedule finishes the job', async () => {
    await addDevices(berth, 300);
    const { status, body } = await requestJob(two, { all: true, max_per_minute: 3_000 });
    expect({ status, state: body.state }).toEqual({ status: 202, state: 'running' });
    expect(body.moved).toBeGreaterThan(0);
    expect(body.progress).toBeCloseTo(body.moved / 300, 2);
    expect(body.devices_per_second).toBeLessThanOrEqual(100);
    expect(body.seconds_left).toBeGreaterThan(0);
    await berth.sql('update bulk_assign_jobs set max_per_minute = null');
    await endLeases();
    await work(...schedule());
    expect((await onJob('GET', body.id)).body).toMatchObject({ state: 'finished', moved: 300, seconds_left: null });
  });
});

it('max_per_minute applies across workers and restarts', async () => {
  await addDevices(berth, 100);
  const id = await leaveOpen(berth, { target_broker_id: two, max_per_minute: 600 });
  for (const ms of [2_800, 2_200, 7_000]) await workOn(contextFor(ms), id);
  const batches = await berth.sql('select at, count(*)::int as n from device_events group by at order by at');
  expect(batches.length).toBeGreaterThanOrEqual(4);
  for (const [i, { at, n }] of batches.entries()) {
    expect(n).toBe(10);
    if (i > 0) expect(at.getTime() - batches[i - 1]?.at.getTime()).toBeGreaterThanOrEqual(999);
  }
});

describe('a target that no longer takes devices', () => {
  it.each([
    ['deleted', 'delete from mqtt_broker_config where id = $1', 'broker-not-found'],
    ['made inactive', 'update mqtt_broker_config set is_active = false where id = $1', 'broker-inactive'],
    ['drained', 'update mqtt_broker_config set accepts_new_devices = false where id = $1', 'broker-draining'],
  ])('%s: the job fails with its count and the reason, and can be reverted', async (_, change, failure) => {
    await addDevices(berth, 1_000, { mqtt_broker_id: String(one) });
    const id = await leaveOpen(berth, { target_broker_id: two });
    await batchOf(id, 600);
    await berth.sql(change, [two]);
    await endLeases();
    await work(...schedule());
    expect((await onJob('GET', id)).body).toMatchObject({ state: 'failed', failure, moved: 600, progress: 0.6 });
    const revert = await onJob('POST', id, '/revert');
    // The deletion of a broker leaves its devices unassigned, which the job did not do.
    const skipped = failure === 'broker-not-found' ? 600 : 0;
    // Devices of an inactive broker resolve to the default, where they return to.
    const there = failure === 'broker-inactive' ? 600 : 0;
    expect(revert.body).toMatchObject({
      state: 'finished',
      moved: 600 - skipped - there,
      already_there: there,
      skipped,
    });
    expect(await perBroker(berth)).toMatchObject(skipped > 0 ? {} : { [one]: 1_000 });
  });

  it('takes devices again: the job resumes where it failed', async () => {
    await addDevices(berth, 1_000);
    const id = await leaveOpen(berth, { target_broker_id: two });
    await batchOf(id, 600);
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [two]);
    await batchOf(id, 600);
    await berth.sql('update mqtt_broker_config set is_active = true where id = $1', [two]);
    await endLeases();
    const { body } = await onJob('POST', id, '/resume');
    expect(body).toMatchObject({ state: 'finished', failure: null, moved: 1_000 });
  });
});

describe('the size of a batch that is repeated', () => {
  it.each([
    ['a lock timeout', '55P03', 200],
    ['a statement timeout', '57014', 200],
    ['a deadlock', '40P01', 400],
    ['a serialisation failure', '40001', 400],
    ['a shutdown of the server', '57P01', 400],
  ])('after %s (%s) is %i instead of 400', async (_, code, size) => {
    await addDevices(berth, 400);
    const id = await leaveOpen(berth, { target_broker_id: two });
    // A sequence keeps its value when the statement is rolled back.
    await berth.sql(`
      create sequence attempts;
      create function fail_first() returns trigger language plpgsql as $$ begin
        if nextval('attempts') = 1 then raise exception using errcode = '${code}'; end if;
        return null;
      end $$;
      create trigger fail_first before update on devices for each statement execute function fail_first()`);
    try {
      expect(await batchOf(id, 400)).toMatchObject({ moved: size, size, job: { batch_size: size } });
    } finally {
      await berth.sql('drop function fail_first cascade; drop sequence attempts');
    }
  });
});

describe('a worker gives way', () => {
  it('to a lock on a device: smaller batches, which continue when the lock is released', async () => {
    await addDevices(berth, 2_000);
    const id = await leaveOpen(berth, { target_broker_id: two });
    const other = await session();
    await other.query('begin');
    await other.query(`select from devices where uuid = 'dev-1999' for update`);
    const working = workOn(contextFor(20_000), id);
    await sleep(1_500);
    const [waiting] = await berth.sql(
      `select count(*)::int as n, coalesce(max(extract(epoch from now() - query_start)), 0)::float8 as s
       from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    expect(waiting?.s, 'no batch waits long for a lock').toBeLessThan(0.5);
    await other.query('rollback');
    await other.end();
    expect(await working).toMatchObject({ state: 'finished', moved: 2_000 });
    expect((await findJob(contextFor(5_000), id)).batch_size).toBeLessThan(2_000);
  });

  it('to a replica that lags by more than 1.5 s', async () => {
    // A table that is found before the view of the same name.
    await berth.sql(`create table public.pg_stat_replication (replay_lag interval)`);
    await berth.sql(`insert into public.pg_stat_replication values ('1.6 s')`);
    await berth.sql(
      `do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$`,
    );
    await berth.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth'`);
    try {
      await addDevices(berth, 100);
      const id = await leaveOpen(berth, { target_broker_id: two });
      const working = workOn(contextFor(20_000), id);
      await sleep(1_500);
      expect(await perBroker(berth)).toEqual({ null: 100 });
      await berth.sql(`update public.pg_stat_replication set replay_lag = '1.4 s'`);
      expect(await working).toMatchObject({ state: 'finished', moved: 100 });
    } finally {
      await berth.sql(`do $$ begin execute format('alter database %I reset search_path', current_database()); end $$`);
      await berth.sql('drop table public.pg_stat_replication');
      await berth.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth'`);
    }
  });
});

describe('a database that becomes unavailable while a job runs', () => {
  it.each([
    ['refuse', 30],
    ['reset', 6],
    ['stall', 6],
  ] as const)(
    '(%s, for %i s): the worker waits and moves every device once',
    { timeout: 90_000 },
    async (mode, seconds) => {
      const url = new URL(berth.databaseUrl);
      const proxy = await startProxy(Number(url.port));
      url.port = String(proxy.port);
      setEnv({ DATABASE_URL: url.href });
      await addDevices(berth, 30_000);
      const id = await leaveOpen(berth, { target_broker_id: two });
      await berth.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth'`);
      try {
        const working = workOn(contextFor(80_000), id);
        while (Number((await perBroker(berth))[two] ?? 0) === 0) await sleep(20);
        await proxy.set(mode);
        await sleep(seconds * 1_000);
        await proxy.set('pass');
        expect(await working).toMatchObject({ state: 'finished', moved: 30_000, skipped: 0 });
        expect(await outcomes(berth, id)).toEqual({ 'moved bulk-assign': 30_000 });
      } finally {
        await proxy.close();
        setEnv({ DATABASE_URL: berth.databaseUrl });
      }
    },
  );

  it('connections that break 20 times lose no device and no count', async () => {
    await addDevices(berth, 40_000);
    const id = await leaveOpen(berth, { target_broker_id: two });
    let done = false;
    const working = workOn(contextFor(50_000), id).finally(() => {
      done = true;
    });
    for (let cuts = 0; !done && cuts < 20; cuts++) {
      await sleep(50 + Math.random() * 150);
      await berth.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'berth'`,
      );
    }
    expect(await working).toMatchObject({ state: 'finished', moved: 40_000, skipped: 0 });
    expect(await outcomes(berth, id)).toEqual({ 'moved bulk-assign': 40_000 });
  });
});

describe('the scheduled job', () => {
  const jobs = () => berth.sql('select once, state, already_there, created_by, target_broker_id from bulk_assign_jobs');

  it('assigns unassigned devices to the default broker; a repeated event creates no second job', async () => {
    await addDevices(berth, 5, { mqtt_broker_id: `case when n = 1 then ${two} end` });
    await assignUnassigned(...schedule('2026-11-22T10:00:00Z'));
    expect(await perBroker(berth)).toEqual({ [two]: 1, [one]: 4 });
    await berth.sql('update devices set mqtt_broker_id = null');
    await assignUnassigned(...schedule('2026-11-22T10:00:00Z'));
    expect(await jobs()).toMatchObject([{ state: 'finished', already_there: 4, created_by: 'schedule' }]);
    await assignUnassigned(...schedule('2026-11-22T10:05:00Z'));
    expect(await jobs()).toMatchObject([{ already_there: 4 }, { already_there: 5 }]);
  });

  it('is not created without unassigned devices, without a default broker that takes devices, or while the previous one is open', async () => {
    await assignUnassigned(...schedule('1'));
    await addDevices(berth, 1);
    await berth.sql('update mqtt_broker_config set is_active = false where is_default');
    await assignUnassigned(...schedule('2'));
    await berth.sql('update mqtt_broker_config set is_active = true, accepts_new_devices = false where is_default');
    await assignUnassigned(...schedule('3'));
    expect(await jobs()).toEqual([]);
    await berth.sql('update mqtt_broker_config set accepts_new_devices = true where is_default');
    await leaveOpen(berth, {
      once: 'schedule:unassigned:4',
      target_broker_id: one,
      next_batch_at: new Date(Date.now() + 3_600_000),
    });
    await assignUnassigned(...schedule('5'));
    expect(await jobs()).toHaveLength(1);
  });

  it('is created once by two simultaneous events', async () => {
    await addDevices(berth, 3);
    await Promise.all([assignUnassigned(...schedule('6')), assignUnassigned(...schedule('6'))]);
    expect(await jobs()).toMatchObject([{ state: 'finished', already_there: 3 }]);
  });
});
