import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { handler } from '../../functions/stats.ts';
import { countDevices } from '../../lib/brokers/count-devices.ts';
import { storeCounts } from '../../lib/brokers/store-counts.ts';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { countEvents, removeOldCounts } from '../../lib/stats/count-events.ts';
import { call } from '../support/api.ts';
import {
  addBroker,
  admin,
  bearer,
  issueKey,
  newDevice,
  register,
  setEnv,
  TERMINATE_CONNECTIONS,
  unknownKey,
  useBerth,
} from '../support/berth.ts';
import { assign, contextFor } from '../support/bulk.ts';

const MIGRATION = new URL('../../migrations/0019_stats.sql', import.meta.url);
const WORKER = fileURLToPath(new URL('../support/stats-worker.ts', import.meta.url));

/** The counts that a schedule maintains, and what shows them. */
const berth = useBerth();
let main: number;
let other: number;
beforeEach(async () => {
  setEnv({});
  await berth.sql(`truncate devices, device_events, operator_events, bulk_assign_jobs, provisioning_keys, mqtt_broker_config,
    broker_counts, event_counts, refusal_counts restart identity cascade`);
  await berth.sql(
    `update event_counting set counted_id = 0, marked_id = 0, counted_at = null, writers = '{}', has_settled = false`,
  );
  main = await addBroker(berth, { name: 'main', is_default: true });
  other = await addBroker(berth, { name: 'other' });
});

const stats = (query: Record<string, string> = {}) => call('GET /api/v1/stats', { headers: admin, query });
const summary = async () => (await call('GET /api/v1/mqtt/brokers/summary', { headers: admin })).body.data;
const run = () => handler({ time: '2026-01-01T00:00:00Z' }, lambda);
const lambda = { awsRequestId: 'r', getRemainingTimeInMillis: () => 120_000 } as never;
const ctx = () => contextFor(30_000);

/** A session of its own, as another function's or run's. */
async function session(): Promise<pg.Client> {
  const client = new pg.Client(berth.databaseUrl);
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}
const RECORD = `insert into device_events (type, device_uuid, reason, at) values ($1, 'd', $2, now() - $3::interval)`;
const record = (type = 'registered', reason: string | null = null, age = '0 s') =>
  berth.sql(RECORD, [type, reason, age]);
/** Sums of event_counts: `hour registered` → 2. */
async function counted(): Promise<Record<string, number>> {
  const rows = await berth.sql(
    `select concat_ws(' ', resolution, kind, nullif(code, '')) as what, sum(events)::int as n from event_counts group by 1`,
  );
  return Object.fromEntries(rows.map(({ what, n }) => [what, n]));
}
type Point = { registered: number; moved: number; refused: Record<string, number> };
const twice = (kind: string, n: number) => ({ [`minute ${kind}`]: n, [`hour ${kind}`]: n });

/** Devices of every kind: 7 in all, with gaps between their ids. */
async function addDevices(): Promise<void> {
  const { id: keyOfOther } = await issueKey({ default_broker_id: other });
  const off = await addBroker(berth, { name: 'off', is_active: false });
  const add = (columns: Record<string, unknown>) => {
    const row = { uuid: newDevice().uuid, is_active: true, ...columns };
    return berth.sql(
      `insert into devices (${Object.keys(row)}) values (${Object.keys(row).map((_, n) => `$${n + 1}`)})`,
      Object.values(row),
    );
  };
  await add({ mqtt_broker_id: main, handed_broker_id: main, is_active: null });
  await add({ mqtt_broker_id: other, handed_broker_id: main });
  await add({ mqtt_broker_id: other, handed_broker_id: other, handed_settings: 'former', is_active: false });
  await berth.sql(`select setval('devices_id_seq', 1000)`);
  await add({ provisioned_by_key_id: keyOfOther });
  await add({ mqtt_broker_id: off, handed_broker_id: off });
  await add({});
  await add({ is_active: false });
}

const COUNTS = [
  { name: 'main', resolved: 4, behind: 1, active: 3 },
  { name: 'off', resolved: 0, behind: 0, active: 0 },
  { name: 'other', resolved: 3, behind: 2, active: 2 },
];
const SUMMARY = [
  { name: 'main', assigned_count: 1, active_assigned_count: 0, following_default_count: 3, behind_count: 1 },
  { name: 'off', assigned_count: 1, active_assigned_count: 1, following_default_count: 0, behind_count: 0 },
  { name: 'other', assigned_count: 2, active_assigned_count: 1, following_default_count: 0, behind_count: 2 },
];

it('GET /stats has the devices of each broker as the schedule counted them, and when', async () => {
  await addDevices();
  const before = await stats();
  const uncounted = { resolved: null, behind: null, active: null, counted_at: null };
  expect(before.body.brokers).toEqual(expect.arrayContaining([{ id: main, name: 'main', ...uncounted }]));
  const begin = Date.now();
  await run();
  const { status, body } = await stats();
  expect(status).toBe(200);
  expect(body.brokers).toMatchObject(COUNTS);
  for (const { counted_at } of body.brokers) {
    expect(Date.parse(counted_at)).toBeGreaterThanOrEqual(begin - 1);
    expect(Date.parse(counted_at)).toBeLessThanOrEqual(Date.now());
  }
});

it.each([1, 2, 7, 100])('counts each device once in slices of %d', async (size) => {
  await addDevices();
  const { byBroker } = await countDevices(ctx(), true, size);
  expect(byBroker.get(main)).toEqual({
    ...{ assigned: 1, active_assigned: 0, resolved: 4, active: 3, following_default: 3, behind: 1 },
  });
  expect(byBroker.get(other)).toEqual({
    ...{ assigned: 2, active_assigned: 1, resolved: 3, active: 2, following_default: 0, behind: 2 },
  });
});

it('the summary of the brokers shows the stored counts with their time, and counts itself when they are old', async () => {
  await addDevices();
  expect(await summary(), 'the schedule has never run').toMatchObject(SUMMARY);
  expect(await berth.sql('select * from broker_counts'), 'a read stores nothing').toEqual([]);
  await storeCounts(ctx());
  await berth.sql('update broker_counts set behind = 77 where broker_id = $1', [main]);
  expect((await summary())[0]).toMatchObject({ behind_count: 77, device_count: '1', active_device_count: '0' });
  await addBroker(berth, { name: 'new' });
  expect((await summary())[1]).toMatchObject({ name: 'new', device_count: '0', assigned_count: 0, counted_at: null });
  await berth.sql(`update broker_counts set counted_at = now() - interval '121 s'`);
  expect((await summary())[0]).toMatchObject({ behind_count: 1 });
  expect((await summary())[1]).toMatchObject({ name: 'new', counted_at: expect.any(String) });
});

it('a count that began earlier does not replace a later one, and a deleted broker loses its counts', async () => {
  await berth.sql(
    `insert into broker_counts values ($1, 1, 1, 55, 1, 1, 1, now() + interval '1 minute'), (999, 1, 1, 1, 1, 1, 1, now())`,
    [main],
  );
  await storeCounts(ctx());
  expect(await berth.sql('select broker_id, resolved from broker_counts order by 1')).toEqual([
    { broker_id: main, resolved: 55 },
    { broker_id: other, resolved: 0 },
  ]);
});

it('GET /stats has registrations, moves and refusals by code, by minute and by hour', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  await register(key, device);
  await register(key, device);
  await register(key, newDevice());
  await register(key, { ...device, deviceApiKey: newDevice().deviceApiKey });
  await register(unknownKey(), newDevice());
  // Both devices follow the default: one job moves them, the next only assigns what they have.
  await assign(other);
  await berth.sql('update mqtt_broker_config set is_default = id = $1', [other]);
  await assign(null);
  await assign(other);
  expect(await berth.sql(`select count(*)::int as n from device_events where reason = 'already-there'`)).toEqual([
    { n: 4 },
  ]);
  await run();
  for (const resolution of ['minute', 'hour']) {
    const { body } = await stats({ resolution });
    const sum = (of: (point: Point) => number | undefined) =>
      body.points.reduce((total: number, point: Point) => total + (of(point) ?? 0), 0);
    expect(sum(({ registered }) => registered)).toBe(2);
    expect(sum(({ moved }) => moved)).toBe(2);
    expect(sum(({ refused }) => refused['device-already-registered'])).toBe(1);
    expect(sum(({ refused }) => refused['invalid-provisioning-key'])).toBe(1);
    expect(body.points.every(({ replayed }: { replayed: null }) => replayed === null)).toBe(true);
  }
});

it('points are oldest first, also without events, and end where the count ends', async () => {
  const none = (await stats()).body;
  expect({ points: none.points, to: none.to }, 'never counted').toEqual({ points: [], to: none.from });
  await record('registered', null, '20 minutes');
  await run();
  const { body } = await stats();
  expect(body).toMatchObject({ resolution: 'minute', generated_at: expect.stringMatching(/Z$/) });
  expect([180, 181]).toContain(body.points.length);
  const times = body.points.map(({ at }: { at: string }) => Date.parse(at));
  expect(times).toEqual(times.map((_: number, n: number) => times[0] + n * 60_000));
  expect(times[0]).toBe(Date.parse(body.from));
  const end = Date.parse(body.to);
  expect(end - times.at(-1)).toBeLessThanOrEqual(60_000);
  expect(end).toBeLessThanOrEqual(Date.now());
  expect(body.points.map(({ registered }: { registered: number }) => registered).indexOf(1)).toBeGreaterThan(150);
  await berth.sql(`update event_counting set counted_at = now() - interval '10 minutes'`);
  const old = (await stats()).body;
  expect(Date.now() - Date.parse(old.to), 'not counted is not zero').toBeGreaterThanOrEqual(600_000);
  expect(Date.parse(old.to) - Date.parse(old.points.at(-1).at)).toBeLessThanOrEqual(60_000);
  const hours = (await stats({ resolution: 'hour', from: '2026-01-01T00:30:00+02:00', to: '2026-01-01T03:00:00Z' }))
    .body;
  expect(hours.points, 'before what is kept').toEqual([]);
  const kept = (await stats({ resolution: 'hour' })).body;
  expect([168, 169]).toContain(kept.points.length);
});

it('GET /stats has the provisioning keys that expire soon or run out while they are used', async () => {
  const key = async (description: string, set: string) => {
    const { id } = await issueKey({ description, maxDevices: 100 });
    await berth.sql('update provisioning_keys set last_used_at = berth_now() where id = $1', [id]);
    await berth.sql(`update provisioning_keys set ${set} where id = $1`, [id]);
  };
  await key('expires', `expires_at = berth_now() + interval '13 days'`);
  await key('later', `expires_at = berth_now() + interval '15 days', devices_provisioned = 90`);
  await key('runs out', `expires_at = berth_now() + interval '20 days', devices_provisioned = 91`);
  await key('not used', `devices_provisioned = 100, last_used_at = berth_now() - interval '8 days'`);
  await key('expired', `expires_at = berth_now() - interval '1 minute', devices_provisioned = 100`);
  await key('revoked', `is_active = false, devices_provisioned = 100`);
  const { keys } = (await stats()).body;
  expect(keys.map(({ description }: { description: string }) => description)).toEqual(['expires', 'runs out']);
  expect(keys[1]).toMatchObject({ fleet_id: 'fleet-a', devices_provisioned: 91, max_devices: 100 });
  expect(Date.parse(keys[1].expires_at) - Date.now()).toBeGreaterThan(19.9 * 86_400_000);
  expect(Object.keys(keys[0])).not.toContain('key_hash');
});

it('GET /stats has the certificates that expire within 30 days, as the check of certificates has seen them', async () => {
  await berth.sql(`update mqtt_broker_config set protocol = 'mqtts'`);
  const plain = await addBroker(berth, { name: 'without TLS by now' });
  await berth.sql(
    `insert into broker_certificates values ($1, 'server', 'CN=a', now() + interval '31 days'), ($1, 'ca_cert', 'CN=b', now() + interval '29 days'),
     ($2, 'server', 'CN=c', now() - interval '1 day'), (999, 'server', 'CN=d', now()), ($3, 'server', 'CN=e', now())`,
    [main, other, plain],
  );
  expect((await stats()).body.certificates).toMatchObject([
    { broker_id: other, broker_name: 'other', of: 'server', subject: 'CN=c' },
    { broker_id: main, broker_name: 'main', of: 'ca_cert', subject: 'CN=b', seen_at: expect.stringMatching(/Z$/) },
  ]);
  await berth.sql('truncate broker_certificates');
});

it('400 for a range that is empty, too long or no time', async () => {
  const from = (ms: number) => new Date(Date.now() + ms).toISOString();
  for (const [query, message] of [
    [{ from: from(60_001) }, 'must be before to'],
    [{ from: from(-1002 * 60_000) }, 'must be at most 1000 points'],
    [{ resolution: 'day' }, 'must be minute or hour'],
    [{ from: 'yesterday' }, 'must be a time such as'],
    [{ to: '2026-02-30T00:00:00Z' }, 'must be a time such as'],
    [{ limit: '1' }, 'is not a known field'],
  ] as const) {
    const { status, body } = await stats(query);
    expect({ status, code: body.code }, JSON.stringify(query)).toEqual({ status: 400, code: 'invalid-request' });
    expect(body.errors[0].message).toContain(message);
  }
});

it('401 without an admin credential; the read scope is enough', async () => {
  expect((await call('GET /api/v1/stats')).status).toBe(401);
  expect((await call('GET /api/v1/stats', { headers: bearer('wrong') })).status).toBe(401);
  setEnv({ ADMIN_READ_TOKEN_HASH: sha256Hex('read-token') });
  expect((await call('GET /api/v1/stats', { headers: bearer('read-token') })).status).toBe(200);
});

it('counts no event twice, however often it runs', async () => {
  for (let n = 0; n < 5; n++) await record();
  for (const size of [2, 3, 100]) await countEvents(ctx(), size);
  expect(await counted()).toEqual(twice('registered', 5));
  await record('refused', 'device-inactive');
  await countEvents(ctx(), 1);
  await countEvents(ctx(), 1);
  expect(await counted()).toEqual({ ...twice('registered', 5), ...twice('refused device-inactive', 1) });
});

it('counts an event whose transaction commits later than one with a higher id', async () => {
  const late = await session();
  await late.query('begin');
  await late.query(RECORD, ['registered', null, '0 s']);
  await record();
  await countEvents(ctx());
  await record();
  await countEvents(ctx());
  expect(await counted(), 'one of them may still be open').toEqual({});
  await late.query('commit');
  await countEvents(ctx());
  expect(await counted()).toEqual(twice('registered', 3));
});

it('counts an event whose transaction commits while a run waits: its snapshot does not have it', async () => {
  const [late, another] = [await session(), await session()];
  await late.query('begin');
  await late.query(RECORD, ['registered', null, '0 s']);
  await record();
  await countEvents(ctx());
  await another.query('begin');
  await another.query('select from event_counting for update');
  const waiting = countEvents(ctx());
  await sleep(300);
  await late.query('commit');
  await another.query('rollback');
  await waiting;
  expect(await counted()).toEqual(twice('registered', 2));
});

it('a transaction of other tables, or of another database, holds nothing up', async () => {
  const [here, elsewhere] = [await session(), new pg.Client(new URL('/postgres', berth.databaseUrl).href)];
  await elsewhere.connect();
  onTestFinished(() => elsewhere.end());
  await here.query('begin');
  await here.query(`insert into refusal_counts values ('', '', '')`);
  await elsewhere.query('begin');
  await elsewhere.query('select pg_current_xact_id()');
  await record();
  await countEvents(ctx());
  expect(await counted()).toEqual(twice('registered', 1));
});

it('an open transaction that began after the mark holds nothing up', async () => {
  await record();
  await countEvents(ctx());
  const late = await session();
  await late.query('begin');
  await late.query(RECORD, ['registered', null, '0 s']);
  await record();
  // The mark of the run before is older than this transaction.
  await countEvents(ctx());
  expect(await counted()).toEqual(twice('registered', 1));
  await late.query('rollback');
  await countEvents(ctx());
  expect(await counted(), 'an id that never appears').toEqual(twice('registered', 2));
});

it('a run that waits for another counts nothing that the other has counted', async () => {
  for (let n = 0; n < 3; n++) await record();
  await countEvents(ctx());
  await record();
  const [before] = await berth.sql('select * from event_counting');
  const another = await session();
  await another.query('begin');
  // The other run has counted up to id 4, and has not committed yet.
  await another.query('update event_counting set step = step + 1, counted_id = 4, marked_id = 4');
  await another.query(`update event_counts set events = events + 1`);
  const waiting = countEvents(ctx());
  await sleep(300);
  await another.query('commit');
  await waiting;
  await countEvents(ctx());
  expect(before).toMatchObject({ counted_id: '3' });
  expect(await counted()).toEqual(twice('registered', 4));
});

it('three processes that count at the same time, some of them killed: every event is counted once', async () => {
  const [begin, patience] = [Date.now(), 30_000];
  const start = () => spawn(process.execPath, [WORKER], { stdio: 'ignore' });
  const workers = [start(), start(), start()];
  onTestFinished(() => void workers.map((worker) => worker.kill('SIGKILL')));
  const late = await session();
  const countedId = async () => Number((await berth.sql('select counted_id from event_counting'))[0]?.counted_id);
  let recorded = 0;
  for (let n = 0; n < 200 || ((await countedId()) < 100 && Date.now() < begin + patience); n++) {
    await late.query('begin');
    await late.query(RECORD, ['registered', null, '0 s']);
    await record();
    await late.query('commit');
    recorded += 2;
    if (n % 60 === 59) {
      workers[n % 3]?.kill('SIGKILL');
      workers[n % 3] = start();
    }
    if (n % 80 === 79) await berth.sql(TERMINATE_CONNECTIONS);
    await sleep(10);
  }
  expect(await countedId(), 'they did count').toBeGreaterThanOrEqual(100);
  const exits = workers.map((worker) => once(worker, 'exit'));
  for (const worker of workers) worker.kill('SIGKILL');
  await Promise.all(exits);
  await closeDatabase();
  await countEvents(ctx());
  expect(await counted()).toEqual(twice('registered', recorded));
}, 60_000);

it('a run without time for all ends without an error, and the next one counts the rest', async () => {
  for (let n = 0; n < 5; n++) await record();
  await countEvents(ctx());
  for (let n = 0; n < 5; n++) await record();
  const late = { ...ctx(), deadline: Date.now() - 1 };
  await countEvents(late);
  // The mark, whether it has settled, and three of the five.
  for (let n = 0; n < 5; n++) await countEvents(late, 1);
  expect((await counted())['hour registered']).toBe(8);
  await removeOldCounts(late);
  await countEvents(ctx(), 3);
  expect(await counted()).toEqual(twice('registered', 10));
});

it('minutes are kept for 48 hours, hours for 90 days; older events are not counted', async () => {
  await record('registered', null, '47 hours');
  await record('registered', null, '49 hours');
  await record('registered', null, '2159 hours');
  await record('registered', null, '2161 hours');
  await countEvents(ctx());
  expect(await counted()).toEqual({ 'minute registered': 1, 'hour registered': 3 });
  await berth.sql(`update event_counts set at = at - interval '1 hour 1 minute' where resolution = 'minute'`);
  await removeOldCounts(ctx());
  expect(await counted()).toEqual({ 'hour registered': 3 });
  await berth.sql(`update event_counts set at = at - interval '2 hours' where at < now() - interval '80 days'`);
  await removeOldCounts(ctx());
  expect(await counted()).toEqual({ 'hour registered': 2 });
});

it('registration pays nothing: it writes no counts, and no table that it writes has a trigger or an index for them', async () => {
  const { key } = await issueKey();
  const before = await berth.sql('select xmin, * from event_counting');
  await register(key, newDevice());
  expect(await berth.sql('select xmin, * from event_counting')).toEqual(before);
  expect(await counted()).toEqual({});
  const written = `('devices', 'device_events', 'mqtt_users', 'mqtt_acls', 'provisioning_keys', 'refusal_counts')`;
  const triggers = await berth.sql(
    `select tgname from pg_trigger where tgrelid::regclass::text in ${written} and not tgisinternal order by 1`,
  );
  expect(triggers.map(({ tgname }) => tgname)).toEqual(['berth_record_move']);
  const indexes = await berth.sql(
    `select indexname from pg_indexes where tablename = 'device_events' and indexdef not like '% WHERE %' order by 1`,
  );
  expect(indexes.map(({ indexname }) => indexname)).toEqual(['device_events_pkey']);
});

it('a new database and one with a history begin at their first event', async () => {
  for (let n = 0; n < 3; n++) await record();
  await berth.sql('delete from device_events where id = 1');
  expect(await rerun()).toMatchObject({ counted_id: '1', marked_id: '1' });
  await berth.sql('truncate device_events');
  expect(await rerun()).toMatchObject({ counted_id: '0', marked_id: '0' });
});

/** What migration 0019 inserts now. */
async function rerun() {
  await berth.sql('delete from event_counting');
  await berth.sql(readFileSync(MIGRATION, 'utf8'));
  return (await berth.sql('select counted_id, marked_id from event_counting'))[0];
}
