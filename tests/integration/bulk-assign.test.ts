import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { matchesDevice } from '../../lib/bulk-assign/filter-sql.ts';
import { query } from '../../lib/database/db.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, setEnv, startBerth } from '../support/berth.ts';
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
} from '../support/bulk.ts';

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

describe('a job', () => {
  it('moves every device that is not at the target, once, with an event each', async () => {
    await addDevices(berth, 2_500, { mqtt_broker_id: `case when n % 2 = 0 then ${one} end` });
    await addDevices(berth, 10, { uuid: "'there-' || n", mqtt_broker_id: String(two) });
    const { status, body, headers } = await assign(two);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      state: 'finished',
      failure: null,
      target: { mqtt_broker_id: two },
      moved: 2_500,
      skipped: 0,
      progress: 1,
      created_by: 'admin',
      ended_at: expect.any(String),
    });
    expect(headers.location).toBe(`${JOBS}/${body.id}`);
    expect(await perBroker(berth)).toEqual({ [two]: 2_510 });
    expect(await outcomes(berth, body.id)).toEqual({ 'moved bulk-assign': 2_500 });
    const [event] = await berth.sql(`select * from device_events where device_uuid = 'dev-2'`);
    expect(event).toMatchObject({ actor: 'admin', fleet_id: 'fleet-a', from_broker_id: one, to_broker_id: two });
    const [device] = await berth.sql(
      `select mqtt_broker_assigned_at = e.at as same from devices d join device_events e on e.device_uuid = d.uuid where d.uuid = 'dev-2'`,
    );
    expect(device).toEqual({ same: true });
    expect((await onJob('GET', body.id)).body).toEqual(body);
  });

  it('without a matching device is finished with 0 moved', async () => {
    expect(await assign(two)).toMatchObject({ status: 200, body: { state: 'finished', moved: 0, progress: 1 } });
    await addDevices(berth, 5, { mqtt_broker_id: String(two) });
    expect(await assign(two)).toMatchObject({ status: 200, body: { state: 'finished', moved: 0 } });
  });

  it.each([
    ['fleet_id', { fleet_id: 'fleet-b' }, ['dev-3', 'dev-6', 'dev-9']],
    ['device_type', { device_type: 'lamp' }, ['dev-2', 'dev-4', 'dev-6', 'dev-8']],
    ['unassigned', { unassigned: true }, ['dev-5', 'dev-7', 'dev-9']],
    ['broker_id', { broker_id: 1 }, ['dev-1', 'dev-2', 'dev-3', 'dev-4', 'dev-6', 'dev-8']],
    ['uuids', { uuids: ['dev-9', 'dev-1', 'nobody', 'dev-1'] }, ['dev-1', 'dev-9']],
    ['two of them', { fleet_id: 'fleet-b', device_type: 'lamp' }, ['dev-6']],
    ['three of them', { fleet_id: 'fleet-b', unassigned: true, uuids: ['dev-9', 'dev-3'] }, ['dev-9']],
  ])('by %s moves the devices that match, as many as its dry run returned', async (_, filter, expected) => {
    await addDevices(berth, 9, {
      fleet_id: "case when n % 3 = 0 then 'fleet-b' else 'fleet-a' end",
      device_type: "case when n % 2 = 0 then 'lamp' else 'sensor' end",
      mqtt_broker_id: `case when n < 5 or n % 2 = 0 then ${one} end`,
    });
    const dry = await assign(two, { filter, dry_run: true });
    expect(dry.body.would_move).toBe(expected.length);
    expect((await assign(two, { filter })).body.moved).toBe(expected.length);
    const moved = await berth.sql('select uuid from devices where mqtt_broker_id = $1 order by id', [two]);
    expect(moved.map(({ uuid }) => uuid)).toEqual(expected);
  });

  it('to null removes assignments, to "default" writes the id of the default broker', async () => {
    await addDevices(berth, 4, { mqtt_broker_id: String(two) });
    expect(await assign(null)).toMatchObject({ status: 200, body: { moved: 4, target: { mqtt_broker_id: null } } });
    expect(await perBroker(berth)).toEqual({ null: 4 });
    // They follow the default broker already.
    expect((await assign('default')).body).toMatchObject({
      moved: 0,
      already_there: 4,
      target: { mqtt_broker_id: one },
    });
    expect(await perBroker(berth)).toEqual({ [one]: 4 });
  });

  it('by 1,000 uuids finds the devices by the index on uuid', async () => {
    await addDevices(berth, 20_000);
    await berth.sql('analyze devices');
    const uuids = Array.from({ length: 1_000 }, (_, n) => `dev-${n * 20 + 1}`);
    const plan = await query(
      contextFor(5_000),
      (sql) => sql`explain select from devices d where d.id > 0 and ${matchesDevice(sql, { uuids })}`,
    );
    expect(JSON.stringify(plan)).toContain('devices_uuid_key');
    expect((await assign(two, { filter: { uuids } })).body).toMatchObject({ state: 'finished', moved: 1_000 });
  });

  it('finds devices whose ids are far apart', async () => {
    await addDevices(berth, 50_000, { fleet_id: "case when n % 10000 = 1 then 'rare' else 'fleet-a' end" });
    expect((await assign(two, { filter: { fleet_id: 'rare' } })).body.moved).toBe(5);
  });

  it('does not move devices that register after it was created', async () => {
    await addDevices(berth, 3);
    const id = await leaveOpen(berth, { target_broker_id: two });
    await addDevices(berth, 2, { uuid: "'late-' || n" });
    await berth.sql(`update bulk_assign_jobs set state = 'cancelled'`);
    expect((await onJob('POST', id, '/resume')).body).toMatchObject({ state: 'finished', moved: 3 });
    expect(await perBroker(berth)).toEqual({ [two]: 3, null: 2 });
  });
});

describe('a dry run', () => {
  it('returns counts by broker and a sample, and writes nothing', async () => {
    await addDevices(berth, 30, { mqtt_broker_id: `case when n <= 20 then ${one} end` });
    const { status, body } = await assign(two, { filter: { fleet_id: 'fleet-a' }, dry_run: true });
    expect({ status, ...body, sample: body.sample.length }).toEqual({
      status: 200,
      dry_run: true,
      target: { mqtt_broker_id: two, name: 'two' },
      would_move: 30,
      already_there: 0,
      by_broker: [
        { mqtt_broker_id: one, name: 'one', devices: 20 },
        { mqtt_broker_id: null, name: null, devices: 10 },
      ],
      sample: 10,
      unknown: null,
      notice: null,
    });
    expect(body.sample[0]).toEqual({ uuid: 'dev-1', fleet_id: 'fleet-a', mqtt_broker_id: one });
    expect(await perBroker(berth)).toEqual({ [one]: 20, null: 10 });
    expect(await berth.sql('select id from bulk_assign_jobs union all select id from device_events')).toEqual([]);
  });

  it('names the uuids that no device has', async () => {
    await addDevices(berth, 1);
    const { body } = await assign(two, { filter: { uuids: ['dev-1', 'dev-x'] }, dry_run: true });
    expect(body).toMatchObject({ would_move: 1, unknown: { uuids: ['dev-x'] } });
  });

  it('refuses the targets that the job refuses', async () => {
    expect(await assign(999, { all: true, dry_run: true })).toMatchObject({
      status: 422,
      body: { code: 'broker-not-found' },
    });
  });
});

describe('a request for a job', () => {
  it.each([
    ['no filter', {}, 'missing-fields', ''],
    ['an empty filter', { filter: {} }, 'invalid-request', ''],
    ['an unknown filter', { filter: { fleet: 'a' } }, 'invalid-request', 'filter.fleet'],
    ['an unknown field', { all: true, dryrun: true }, 'invalid-request', 'dryrun'],
    ['all with a filter', { all: true, filter: { fleet_id: 'a' } }, 'invalid-request', 'all'],
    ['all: false', { all: false }, 'invalid-request', 'all'],
    [
      'unassigned with broker_id',
      { filter: { unassigned: true, broker_id: 1 } },
      'invalid-request',
      'filter.broker_id',
    ],
    ['unassigned: false', { filter: { unassigned: false } }, 'invalid-request', 'filter.unassigned'],
    ['no uuids', { filter: { uuids: [] } }, 'invalid-request', 'filter.uuids'],
    ['1,001 uuids', { filter: { uuids: Array(1_001).fill('a') } }, 'invalid-request', 'filter.uuids'],
    ['a malformed uuid', { filter: { uuids: ['a', 'b/#'] } }, 'invalid-request', 'filter.uuids.1'],
    ['broker_id as text', { filter: { broker_id: '1' } }, 'invalid-request', 'filter.broker_id'],
    ['max_per_minute 0', { all: true, max_per_minute: 0 }, 'invalid-request', 'max_per_minute'],
    ['max_per_minute -5', { all: true, max_per_minute: -5 }, 'invalid-request', 'max_per_minute'],
    ['max_per_minute 1.5', { all: true, max_per_minute: 1.5 }, 'invalid-request', 'max_per_minute'],
    ['another target', { all: true, target: { mqtt_broker_id: 'first' } }, 'invalid-request', 'target.mqtt_broker_id'],
    ['a target without its member', { all: true, target: {} }, 'missing-fields', 'target.mqtt_broker_id'],
    ['no target', { all: true, target: undefined }, 'missing-fields', 'target'],
  ])('with %s is 400 and names the field', async (_, body, code, field) => {
    await addDevices(berth, 1);
    const reply = await assign(two, body);
    expect(reply.status).toBe(400);
    expect(reply.body.errors.map(({ path }: { path: string }) => path)).toContain(field);
    if (field !== '') expect(reply.body.code).toBe(code);
    expect(await berth.sql('select id from bulk_assign_jobs')).toEqual([]);
  });

  it('with 1,000 uuids of 255 characters is accepted', async () => {
    const uuids = Array.from({ length: 1_000 }, (_, n) => `${'x'.repeat(250)}${n}`);
    expect(await assign(two, { filter: { uuids } })).toMatchObject({ status: 200, body: { moved: 0 } });
  });

  it.each([
    ['unknown', {}, 999, 'broker-not-found'],
    ['inactive', { is_active: false }, undefined, 'broker-inactive'],
    ['draining', { accepts_new_devices: false }, undefined, 'broker-draining'],
  ])('with a target that is %s is 422', async (_, columns, id, code) => {
    const target = id ?? (await addBroker(berth, columns));
    expect(await assign(target)).toMatchObject({ status: 422, body: { code } });
    expect(await berth.sql('select id from bulk_assign_jobs')).toEqual([]);
  });

  it('with "default" is 422 when there is no default broker', async () => {
    await berth.sql('update mqtt_broker_config set is_default = false');
    expect(await assign('default')).toMatchObject({ status: 422, body: { code: 'no-default-broker' } });
  });

  it.each(['GET ', 'GET /devices', 'POST /cancel', 'POST /resume', 'POST /revert'])(
    '%s of an unknown job is 404',
    async (route) => {
      const [method, verb] = route.split(' ') as ['GET' | 'POST', string];
      const { status, body } = await onJob(method, 77, verb);
      expect({ status, code: body.code }).toEqual({ status: 404, code: 'bulk-assign-job-not-found' });
    },
  );
});

describe('Idempotency-Key', () => {
  const key = { headers: { 'idempotency-key': 'night-shift' } };

  it('with the same body returns the same job, whatever the order of its members', async () => {
    await addDevices(berth, 3, { mqtt_broker_id: String(one) });
    const first = await assign(two, { filter: { fleet_id: 'fleet-a', device_type: 'sensor' } }, key);
    await berth.sql('update devices set mqtt_broker_id = $1', [one]);
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [two]);
    const again = await assign(two, { filter: { device_type: 'sensor', fleet_id: 'fleet-a' } }, key);
    expect(again).toMatchObject({ status: 200, body: first.body });
    expect(await perBroker(berth)).toEqual({ [one]: 3 });
  });

  it('with another body is 422', async () => {
    await assign(two, { all: true }, key);
    expect(await assign(two, { filter: { unassigned: true } }, key)).toMatchObject({
      status: 422,
      body: { code: 'idempotency-key-reused' },
    });
    expect((await assign(one, { all: true }, key)).status).toBe(422);
  });

  it('in ten simultaneous requests creates one job', async () => {
    await addDevices(berth, 10);
    const replies = await Promise.all(Array.from({ length: 10 }, () => assign(two, { all: true }, key)));
    expect(new Set(replies.map(({ body }) => body.id)).size).toBe(1);
    expect(await berth.sql('select id, moved from bulk_assign_jobs')).toEqual([{ id: replies[0]?.body.id, moved: 10 }]);
  });

  it('with characters that are not printable ASCII is 400', async () => {
    expect(await assign(two, { all: true }, { headers: { 'idempotency-key': 'ü' } })).toMatchObject({
      status: 400,
      body: { errors: [{ path: 'Idempotency-Key' }] },
    });
  });
});

describe('the list of a job’s devices', () => {
  it('has pages, a filter by outcome, and a CSV format', async () => {
    await addDevices(berth, 5, { fleet_id: `'a "b", c'` });
    const { id } = (await assign(two)).body;
    const first = await onJob('GET', id, '/devices', { query: { limit: '3' } });
    expect(first.body).toMatchObject({ count: 3, devices: [{ device_uuid: 'dev-1', outcome: 'moved' }, {}, {}] });
    const after = new URL(first.body.next, 'http://x').searchParams.get('after') as string;
    const second = await onJob('GET', id, '/devices', { query: { limit: '3', after } });
    expect(second.body.devices.map((row: { device_uuid: string }) => row.device_uuid)).toEqual(['dev-4', 'dev-5']);
    expect(second.body).not.toHaveProperty('next');
    expect((await onJob('GET', id, '/devices', { query: { outcome: 'skipped' } })).body.count).toBe(0);

    const csv = await onJob('GET', id, '/devices', { headers: { accept: 'text/csv' }, query: { limit: '4' } });
    expect(csv.headers['content-type']).toBe('text/csv; charset=utf-8');
    expect(csv.headers.link).toMatch(/^<\/api\/v1\/devices\/bulk-assign\/\d+\/devices\?.*>; rel="next"$/);
    const lines = csv.text.split('\r\n');
    expect(lines[0]).toBe(
      'id,at,device_uuid,fleet_id,outcome,reason,from_broker_id,to_broker_id,from_broker_name,to_broker_name',
    );
    expect(lines[1]).toMatch(/^\d+,\d{4}-.*Z,dev-1,"a ""b"", c",moved,bulk-assign,,2,,two$/);
    expect(lines).toHaveLength(6);
  });

  it.each([
    ['limit', '0'],
    ['limit', '10001'],
    ['after', 'x'],
    ['outcome', 'lost'],
    ['page', '2'],
  ])('%s=%s is 400', async (name, value) => {
    const { id } = (await assign(two)).body;
    expect(await onJob('GET', id, '/devices', { query: { [name]: value } })).toMatchObject({
      status: 400,
      body: { errors: [{ path: name }] },
    });
  });
});

describe('the list of jobs', () => {
  it('is newest first, has pages, and counts the uuids of a filter', async () => {
    for (let n = 0; n < 3; n++) await assign(two, { filter: { uuids: ['a', 'b'] } });
    const list = await call(`GET ${JOBS}`, { headers: admin, query: { limit: '2' } });
    expect(list.body).toMatchObject({ count: 2, jobs: [{ id: 3, filter: { uuid_count: 2 } }, { id: 2 }] });
    expect(list.text).not.toContain('"uuids"');
    expect(list.body.jobs[0].unknown).toEqual({ uuid_count: 2 });
    const after = new URL(list.body.next, 'http://x').searchParams.get('after') as string;
    const rest = await call(`GET ${JOBS}`, { headers: admin, query: { after } });
    expect(rest.body.jobs.map(({ id }: { id: number }) => id)).toEqual([1]);
  });
});

describe('cancelling', () => {
  it('ends an open job where it is, can be repeated, and the job can be resumed', async () => {
    await addDevices(berth, 4);
    const id = await leaveOpen(berth, { target_broker_id: two, cursor_id: 2, moved: 2 });
    expect(await onJob('POST', id, '/cancel')).toMatchObject({ status: 200, body: { state: 'cancelled', moved: 2 } });
    expect((await onJob('POST', id, '/cancel')).status).toBe(200);
    expect(await perBroker(berth)).toEqual({ null: 4 });
    expect((await onJob('POST', id, '/resume')).body).toMatchObject({ state: 'finished', moved: 4 });
    expect(await perBroker(berth)).toEqual({ null: 2, [two]: 2 });
  });

  it('a finished job is 409 with its state, as is resuming it', async () => {
    const { id } = (await assign(two)).body;
    for (const verb of ['/cancel', '/resume']) {
      expect(await onJob('POST', id, verb)).toMatchObject({
        status: 409,
        body: { code: 'bulk-assign-job-ended', state: 'finished' },
      });
    }
  });
});

it('the history of a device contains what jobs did, page by page, also after deletion and registration', async () => {
  await addDevices(berth, 2, { mqtt_broker_id: String(one) });
  await assign(two);
  await call('PUT /api/v1/devices/dev-1', { headers: admin, body: { mqtt_broker_id: one } });
  await assign(two);
  await call('DELETE /api/v1/devices/dev-1', { headers: admin });
  await berth.sql(`insert into devices (uuid, mqtt_broker_id) values ('dev-1', $1)`, [one]);
  await assign(two);
  const events = async (query: Record<string, string>) =>
    (await call('GET /api/v1/devices/dev-1/events', { headers: admin, query })).body;
  const { events: all } = await events({ limit: '100' });
  expect(all.map(({ type, reason }: { type: string; reason: string }) => `${type} ${reason}`)).toEqual([
    'moved bulk-assign',
    'deleted null',
    'moved bulk-assign',
    'moved null',
    'moved bulk-assign',
  ]);
  const first = await events({ limit: '3' });
  const rest = await events(Object.fromEntries(new URL(first.next, 'http://berth').searchParams));
  expect([...first.events, ...rest.events]).toEqual(all);
});

describe('reverting', () => {
  it('returns each device to its previous broker', async () => {
    await addDevices(berth, 9, { mqtt_broker_id: `case when n <= 3 then ${one} when n <= 6 then ${two} end` });
    const job = (await assign(two)).body;
    expect(await perBroker(berth)).toEqual({ [two]: 9 });
    const revert = await onJob('POST', job.id, '/revert');
    expect(revert).toMatchObject({
      status: 200,
      body: { state: 'finished', moved: 6, skipped: 0, reverts_job_id: job.id, target: null },
    });
    expect(await perBroker(berth)).toEqual({ [one]: 3, [two]: 3, null: 3 });
    expect(await outcomes(berth, revert.body.id)).toEqual({ 'moved revert': 6 });
    expect((await onJob('GET', job.id)).body.reverted_by_job_id).toBe(revert.body.id);
    // The revert of the revert.
    expect((await onJob('POST', revert.body.id, '/revert')).body).toMatchObject({ state: 'finished', moved: 6 });
    expect(await perBroker(berth)).toEqual({ [two]: 9 });
  });

  it('skips a device that was moved since or deleted, or whose broker is deleted or inactive, and reports why', async () => {
    const gone = await addBroker(berth);
    const inactive = await addBroker(berth);
    const drained = await addBroker(berth);
    await addDevices(berth, 5, {
      mqtt_broker_id: `(array[${one}, ${one}, ${gone}, ${inactive}, ${drained}])[n]`,
    });
    const job = (await assign(two)).body;
    await call('PUT /api/v1/devices/dev-1', { headers: admin, body: { mqtt_broker_id: null } });
    await berth.sql(`delete from devices where uuid = 'dev-2'`);
    await berth.sql('delete from mqtt_broker_config where id = $1', [gone]);
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [inactive]);
    await berth.sql('update mqtt_broker_config set accepts_new_devices = false where id = $1', [drained]);
    const { body } = await onJob('POST', job.id, '/revert');
    expect(body).toMatchObject({ moved: 1, skipped: 4 });
    expect(await outcomes(berth, body.id)).toEqual({
      'moved revert': 1,
      'skipped changed-since': 1,
      'skipped device-deleted': 1,
      'skipped broker-deleted': 1,
      'skipped broker-inactive': 1,
    });
    expect(await perBroker(berth)).toEqual({ null: 1, [two]: 2, [drained]: 1 });
  });

  it('treats a device that was deleted and registered again as another device', async () => {
    await addDevices(berth, 2, { mqtt_broker_id: String(one) });
    const job = (await assign(two)).body;
    await call('DELETE /api/v1/devices/dev-2', { headers: admin });
    await berth.sql(`insert into devices (uuid, mqtt_broker_id) values ('dev-2', $1)`, [two]);
    const { body } = await onJob('POST', job.id, '/revert');
    expect(await outcomes(berth, body.id)).toEqual({ 'moved revert': 1, 'skipped device-deleted': 1 });
    expect(await perBroker(berth)).toEqual({ [one]: 1, [two]: 1 });
  });

  it('an open or reverted job is 409 with its state', async () => {
    const id = await leaveOpen(berth, { target_broker_id: two });
    expect(await onJob('POST', id, '/revert')).toMatchObject({
      status: 409,
      body: { code: 'bulk-assign-job-open', state: 'queued' },
    });
    await onJob('POST', id, '/cancel');
    const revert = await onJob('POST', id, '/revert');
    expect(revert.body).toMatchObject({ state: 'finished', moved: 0 });
    expect(await onJob('POST', id, '/revert')).toMatchObject({
      status: 409,
      body: { code: 'bulk-assign-job-reverted', state: 'cancelled', reverted_by_job_id: revert.body.id },
    });
    expect((await onJob('POST', id, '/resume')).status).toBe(409);
  });
});

describe('authentication', () => {
  it('is 403 without ADMIN_AUTH and 401 without a token', async () => {
    setEnv({ ADMIN_AUTH: '' });
    expect(await assign(two)).toMatchObject({ status: 403, body: { code: 'admin-disabled' } });
    setEnv({});
    expect((await call(`POST ${JOBS}`, { body: {} })).status).toBe(401);
  });
});
