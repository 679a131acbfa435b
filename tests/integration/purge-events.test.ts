import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { handler } from '../../functions/purge-events.ts';
import { query } from '../../lib/database/db.ts';
import { purgeEvents } from '../../lib/events/purge.ts';
import { log } from '../../lib/log.ts';
import { addBroker, setEnv, useBerth } from '../support/berth.ts';
import { addDevices, assign, contextFor, onJob, perBroker } from '../support/bulk.ts';

const berth = useBerth();
let two: number;
beforeEach(async () => {
  setEnv({});
  await berth.sql(
    'truncate devices, device_events, operator_events, bulk_assign_jobs, leases restart identity cascade',
  );
  two = await addBroker(berth);
});

const addEvents = (count: number, daysOld: number) =>
  berth.sql(
    `insert into device_events (type, device_uuid, at) select 'registered', 'dev-' || n, now() - make_interval(days => $2)
     from generate_series(1, $1::int) n`,
    [count, daysOld],
  );
const makeOld = () => berth.sql(`update device_events set at = now() - interval '500 days'`);
const left = async (where = 'true') =>
  (await berth.sql(`select count(*)::int from device_events where ${where}`))[0]?.count;

it('removes events that are older than 400 days, in batches, and keeps younger ones', async () => {
  await addEvents(25, 401);
  await addEvents(3, 399);
  const info = vi.spyOn(log, 'info');
  onTestFinished(() => info.mockRestore());
  await purgeEvents(contextFor(10_000), 10);
  expect(info).toHaveBeenCalledWith('events purged', { purged: 25, days: 400 });
  expect(await left()).toBe(3);
  expect(await left(`at < now() - interval '400 days'`)).toBe(0);
});

it('removes an expired event behind younger ones of the same page', async () => {
  await addEvents(2, 399);
  await addEvents(2, 401);
  await purgeEvents(contextFor(10_000), 10);
  expect(await left()).toBe(2);
});

it('stops at the first page without an expired event', async () => {
  await addEvents(10, 1);
  await addEvents(1, 401);
  await purgeEvents(contextFor(10_000), 10);
  expect(await left()).toBe(11);
});

it('stops before its deadline; the next run removes the rest', async () => {
  await addEvents(20_000, 401);
  await purgeEvents(contextFor(5_300), 10);
  const rest = await left();
  expect(rest).toBeGreaterThan(0);
  expect(rest).toBeLessThan(20_000);
  await purgeEvents(contextFor(30_000));
  expect(await left()).toBe(0);
});

it('the scheduled run uses EVENT_RETENTION_DAYS', async () => {
  await addEvents(2, 101);
  const lambda = { awsRequestId: 'r', getRemainingTimeInMillis: () => 900_000 } as never;
  await handler({ time: '2026-01-01T00:00:00Z' }, lambda);
  expect(await left()).toBe(2);
  setEnv({ EVENT_RETENTION_DAYS: '100' });
  await handler({ time: '2026-01-01T00:00:00Z' }, lambda);
  expect(await left()).toBe(0);
});

it('the functions’ role removes nothing younger than 90 days, and only so', async () => {
  await addEvents(1, 89);
  await addEvents(1, 91);
  await query(contextFor(5_000), (sql) => sql`select * from berth_purge_events(0, 1, 10)`);
  expect(await left()).toBe(1);
  const removed = query(contextFor(5_000), (sql) => sql`delete from device_events`);
  await expect(removed).rejects.toMatchObject({ code: '42501' });
  const [granted] = await berth.sql(
    `select has_function_privilege('pg_monitor', 'berth_purge_events(bigint,integer,integer)', 'execute') as may`,
  );
  expect(granted?.may).toBe(false);
});

it('keeps what a revert needs: a job of 500 days ago can be reverted, and its devices return', async () => {
  await addDevices(berth, 6);
  const { id } = (await assign(two)).body;
  // One device was moved elsewhere, one deleted: the revert would skip them.
  await berth.sql(`update devices set mqtt_broker_id = null where uuid = 'dev-1'`);
  await berth.sql(`delete from devices where uuid = 'dev-2'`);
  await makeOld();
  await purgeEvents(contextFor(10_000));
  expect(await left()).toBe(4);
  const revert = await onJob('POST', id, '/revert');
  expect(revert.body).toMatchObject({ state: 'finished', moved: 4, skipped: 0 });
  expect(await perBroker(berth)).toEqual({ null: 5 });
});

it('keeps the events of a job whose revert is not finished, and removes them when it is', async () => {
  await addDevices(berth, 4);
  const { id } = (await assign(two)).body;
  await makeOld();
  const { body } = await onJob('POST', id, '/revert');
  await berth.sql(`update bulk_assign_jobs set state = 'cancelled' where id = $1`, [body.id]);
  await berth.sql(`update devices set mqtt_broker_id = $1`, [two]);
  await purgeEvents(contextFor(10_000));
  expect(await left(`job_id = ${id}`)).toBe(4);
  await berth.sql(`update bulk_assign_jobs set state = 'finished' where id = $1`, [body.id]);
  await purgeEvents(contextFor(10_000));
  expect(await left(`job_id = ${id}`)).toBe(0);
});
