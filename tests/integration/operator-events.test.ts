import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { assignUnassigned } from '../../lib/bulk-assign/assign-unassigned.ts';
import { query } from '../../lib/database/db.ts';
import { type Answer, type Call, call } from '../support/api.ts';
import { addBroker, admin, issueKey, newDevice, register, setEnv, useBerth, withTrigger } from '../support/berth.ts';
import { addDevices, contextFor, JOBS, onJob, requestJob } from '../support/bulk.ts';
import { createAuthority, type Pair } from '../support/certificates.ts';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const BROKERS = '/api/v1/mqtt/brokers';
const KEYS = '/api/v1/provisioning-keys';
const SEAL_KEY = randomBytes(32).toString('base64');

const berth = useBerth();
let proxy: TcpProxy;
let client: Pair;
beforeAll(async () => {
  const url = new URL(process.env.DATABASE_URL as string);
  proxy = await startProxy(Number(url.port));
  setEnv({ DATABASE_URL: Object.assign(url, { port: proxy.port }).href, BERTH_SEAL_KEY: SEAL_KEY });
  client = await (await createAuthority('Test CA')).issue({ commonName: 'berth' });
});
afterAll(() => proxy.close());

let one: number;
beforeEach(async () => {
  await berth.sql('truncate devices, device_events, operator_events, bulk_assign_jobs, leases, provisioning_keys');
  await berth.sql('delete from mqtt_broker_config');
  one = await addBroker(berth, { name: 'one', is_default: true });
});

const send = (method: string, path: string, options: Call = {}) =>
  call(`${method} ${path}`, { ...options, headers: { ...admin, ...options.headers } });
/** What is recorded, oldest first, without ids and times. */
const recorded = () =>
  berth.sql(
    `select type, target_kind as kind, target_id as id, target_name as name, before, after, actor, reason
     from operator_events order by operator_events.id`,
  );
const types = async () => (await recorded()).map(({ type }) => type);

async function created(body: object = {}): Promise<number> {
  const reply = await send('POST', BROKERS, { body: { name: 'new', host: 'mqtt.example.com', port: 1883, ...body } });
  expect(reply.status, reply.text).toBe(201);
  return reply.body.data.id;
}

/** Forgets what the preparation of a test has recorded. */
const forget = () => berth.sql('truncate operator_events');

describe('brokers', () => {
  it('a new broker is recorded with its settings, address and request', async () => {
    const { body, headers } = await send('POST', BROKERS, {
      body: { name: 'new', host: 'mqtt.example.com', port: 1883, region: 'eu' },
      ip: '203.0.113.9',
    });
    const [event] = await berth.sql('select * from operator_events');
    expect(event).toMatchObject({
      type: 'broker-created',
      target_kind: 'broker',
      target_id: String(body.data.id),
      target_name: 'new',
      before: null,
      after: { name: 'new', host: 'mqtt.example.com', port: 1883, region: 'eu', is_active: true, is_default: false },
      actor: 'admin',
      source_ip: '203.0.113.9',
      request_id: headers['x-request-id'],
      reason: null,
    });
    expect(event?.after).not.toHaveProperty('description');
    expect(event?.after).not.toHaveProperty('updated_at');
  });

  it('a change is recorded with the members that differ, and only those', async () => {
    const id = await created({ keep_alive: 30 });
    await forget();
    await send('PUT', `${BROKERS}/${id}`, { body: { name: 'renamed', keep_alive: 60, port: 1883, region: 'eu' } });
    expect(await recorded()).toEqual([
      {
        type: 'broker-changed',
        kind: 'broker',
        id: String(id),
        name: 'renamed',
        before: { name: 'new', keep_alive: 30, region: null },
        after: { name: 'renamed', keep_alive: 60, region: 'eu' },
        actor: 'admin',
        reason: null,
      },
    ]);
  });

  it('a PUT that changes nothing is not recorded', async () => {
    const id = await created();
    await forget();
    expect((await send('PUT', `${BROKERS}/${id}`, { body: { name: 'new', port: 1883 } })).status).toBe(200);
    expect(await recorded()).toEqual([]);
  });

  it.each([
    ['POST', 201],
    ['PUT', 200],
  ])('a new default is recorded at both brokers: %s', async (method, status) => {
    const id = method === 'PUT' ? await created() : undefined;
    await forget();
    const body = { name: 'two', host: 'mqtt.example.com', port: 1883, is_default: true };
    const reply = await send(method, id ? `${BROKERS}/${id}` : BROKERS, { body });
    expect(reply.status).toBe(status);
    const events = await recorded();
    expect(events.find((event) => event.id === String(one))).toMatchObject({
      type: 'default-changed',
      name: 'one',
      before: { is_default: true },
      after: { is_default: false },
    });
    expect(events.find((event) => event.id === String(reply.body.data.id))).toMatchObject(
      method === 'PUT'
        ? {
            type: 'default-changed',
            before: { is_default: false, name: 'new' },
            after: { is_default: true, name: 'two' },
          }
        : { type: 'broker-created', before: null, after: { is_default: true } },
    );
    expect(events).toHaveLength(2);
  });

  it('closing the former default to its devices is recorded there', async () => {
    const id = await created();
    await forget();
    await send('PUT', `${BROKERS}/${id}`, { body: { is_default: true, close_former: true } });
    const former = (await recorded()).find((event) => event.id === String(one));
    expect(former).toMatchObject({ after: { is_default: false, closed_to_former_at: expect.any(String) } });
    expect(former?.before).toEqual({ is_default: true });
  });

  it('a deletion is recorded with what was deleted, and at each key that named the broker', async () => {
    const id = await created({ region: 'eu' });
    const key = await issueKey({ fleetId: 'fleet-a', default_broker_id: id });
    await forget();
    expect((await send('DELETE', `${BROKERS}/${id}`)).status).toBe(200);
    const events = await recorded();
    expect(events.find(({ kind }) => kind === 'broker')).toMatchObject({
      type: 'broker-deleted',
      id: String(id),
      name: 'new',
      before: { name: 'new', region: 'eu', port: 1883 },
      after: null,
    });
    expect(events.find(({ kind }) => kind === 'key')).toMatchObject({
      type: 'key-changed',
      id: key.id,
      name: 'fleet-a',
      before: { default_broker_id: id },
      after: { default_broker_id: null },
      reason: 'broker deleted',
    });
    expect(events).toHaveLength(2);
  });

  it('a test is recorded with its result', async () => {
    const id = await created({ host: '192.0.2.1' });
    await forget();
    setEnv({ BERTH_SEAL_KEY: SEAL_KEY, BERTH_STAGE: 'local' });
    await berth.sql(`update mqtt_broker_config set host = '127.0.0.1', port = 1 where id = $1`, [id]);
    expect((await send('POST', `${BROKERS}/${id}/test`)).body.data.reachable).toBe(false);
    setEnv({ BERTH_SEAL_KEY: SEAL_KEY });
    expect(await recorded()).toMatchObject([
      {
        type: 'broker-tested',
        id: String(id),
        name: 'new',
        before: null,
        after: { reachable: false, stage: 'tcp', problem: 'connection-refused' },
      },
    ]);
  });
});

describe('provisioning keys', () => {
  it('issued, changed, revoked: each is recorded once, a repetition that changes nothing not at all', async () => {
    const { id } = await issueKey({ fleetId: 'fleet-a', maxDevices: 5, description: 'line 3' });
    const change = () => send('PUT', `${KEYS}/${id}`, { body: { max_devices: 9, description: 'line 4' } });
    const revoke = (reason?: string) => send('DELETE', `${KEYS}/${id}`, { body: reason ? { reason } : {} });
    for (const reply of [
      await change(),
      await change(),
      await revoke('stolen'),
      await revoke('stolen'),
      await revoke(),
    ]) {
      expect(reply.status).toBe(200);
    }
    const common = { kind: 'key', id, name: 'fleet-a', actor: 'admin' };
    expect(await recorded()).toMatchObject([
      { ...common, type: 'key-issued', before: null, after: { fleet_id: 'fleet-a', max_devices: 5, is_active: true } },
      {
        ...common,
        type: 'key-changed',
        before: { max_devices: 5, description: 'line 3' },
        after: { max_devices: 9, description: 'line 4' },
      },
      {
        ...common,
        type: 'key-revoked',
        reason: 'stolen',
        before: { is_active: true, revoked_reason: null },
        after: { is_active: false, revoked_reason: 'stolen' },
      },
    ]);
  });

  it('an order of a key that is repeated with its Idempotency-Key is recorded once', async () => {
    const order = () => send('POST', KEYS, { body: { fleetId: 'f' }, headers: { 'idempotency-key': 'k' } });
    expect([(await order()).status, (await order()).status]).toEqual([201, 201]);
    expect(await types()).toEqual(['key-issued']);
  });

  it('another reason for a revoked key is a change', async () => {
    const { id } = await issueKey();
    await send('DELETE', `${KEYS}/${id}`, { body: { reason: 'old' } });
    await send('DELETE', `${KEYS}/${id}`, { body: { reason: 'stolen' } });
    expect((await recorded()).at(-1)).toMatchObject({
      type: 'key-changed',
      before: { revoked_reason: 'old' },
      after: { revoked_reason: 'stolen' },
    });
  });

  it('registrations change the use of a key, which is no event of an operator', async () => {
    const { id, key } = await issueKey();
    await forget();
    await register(key, newDevice());
    await send('PUT', `${KEYS}/${id}`, { body: { description: 'x' } });
    expect(await recorded()).toMatchObject([{ before: { description: null }, after: { description: 'x' } }]);
    expect(Object.keys((await recorded())[0]?.after)).toEqual(['description']);
  });
});

describe('jobs', () => {
  const filter = { fleet_id: 'fleet-a' };

  it('created, cancelled, resumed, reverted: each is recorded once', async () => {
    await addDevices(berth, 3);
    const two = await addBroker(berth);
    const headers = { prefer: 'respond-async' };
    const { id } = (await requestJob(two, { filter, reason: 'maintenance', max_per_minute: 1 }, { headers })).body;
    for (const [verb, status] of [
      ['/cancel', 200],
      ['/cancel', 200],
      ['/resume', 202],
      ['/resume', 202],
      ['/cancel', 200],
    ] as const) {
      expect((await send('POST', `${JOBS}/${id}${verb}`, { headers })).status).toBe(status);
    }
    const revert = await onJob('POST', id, '/revert', { body: { reason: 'mistake' } });
    const common = { kind: 'job', id: String(id), actor: 'admin' };
    expect(await recorded()).toMatchObject([
      {
        ...common,
        type: 'job-created',
        reason: 'maintenance',
        before: null,
        after: { filter, target_broker_id: two, max_per_minute: 1, state: 'queued' },
      },
      { ...common, type: 'job-cancelled', before: { state: 'queued' }, after: { state: 'cancelled' } },
      { ...common, type: 'job-resumed', before: { state: 'cancelled' }, after: { state: 'queued' } },
      { ...common, type: 'job-cancelled', before: { state: 'queued' }, after: { state: 'cancelled' } },
      {
        ...common,
        type: 'job-created',
        id: String(revert.body.id),
        reason: 'mistake',
        after: { reverts_job_id: id },
      },
    ]);
  });

  it('a dry run is not recorded, a repeated Idempotency-Key and a second revert neither', async () => {
    await addDevices(berth, 1);
    const two = await addBroker(berth);
    await requestJob(two, { filter, dry_run: true });
    const headers = { 'idempotency-key': 'k' };
    const { id } = (await requestJob(two, { filter }, { headers })).body;
    await requestJob(two, { filter }, { headers });
    expect((await requestJob(two, { filter: { fleet_id: 'x' } }, { headers })).status).toBe(422);
    await onJob('POST', id, '/revert');
    expect((await onJob('POST', id, '/revert')).status).toBe(409);
    expect(await types()).toEqual(['job-created', 'job-created']);
  });

  it('two simultaneous requests with one Idempotency-Key are recorded once', async () => {
    await addDevices(berth, 1);
    const two = await addBroker(berth);
    const headers = { 'idempotency-key': 'k', prefer: 'respond-async' };
    await Promise.all([1, 2, 3].map(() => requestJob(two, { filter }, { headers })));
    expect(await types()).toEqual(['job-created']);
  });

  it('a job that removes assignments says so', async () => {
    await requestJob(null, { filter });
    expect(await recorded()).toMatchObject([{ after: { target_broker_id: 'no assignment' } }]);
  });

  it('of named devices only their number is recorded', async () => {
    const two = await addBroker(berth);
    await requestJob(two, { filter: { uuids: ['dev-1', 'dev-2'], fleet_id: 'fleet-a' } });
    expect(await recorded()).toMatchObject([{ after: { filter: { uuid_count: 2, fleet_id: 'fleet-a' } } }]);
    expect((await recorded())[0]?.after.filter).not.toHaveProperty('uuids');
  });

  it('the schedule’s job is recorded once, with the schedule as the actor', async () => {
    await addDevices(berth, 2);
    const ctx = { ...contextFor(5_000), actor: 'schedule' } as const;
    const id = await assignUnassigned(ctx, '2026-01-01T00:00:00Z');
    expect(await assignUnassigned(ctx, '2026-01-01T00:00:00Z')).toBe(id);
    expect(await assignUnassigned(ctx, '2026-01-01T00:05:00Z')).toBeUndefined();
    expect(await recorded()).toMatchObject([
      {
        type: 'job-created',
        id: String(id),
        actor: 'schedule',
        after: { filter: { unassigned: true }, target_broker_id: one },
      },
    ]);
  });
});

describe('what is refused is not recorded', () => {
  it.each<[string, (ids: { two: number; key: string; job: number }) => Promise<Answer>, number]>([
    ['a broker without host', () => send('POST', BROKERS, { body: { name: 'x', port: 1 } }), 400],
    [
      'a broker’s name that is taken',
      () => send('POST', BROKERS, { body: { name: 'one', host: 'a.example', port: 1 } }),
      409,
    ],
    ['a change to a name that is taken', ({ two }) => send('PUT', `${BROKERS}/${two}`, { body: { name: 'one' } }), 409],
    [
      'a withdrawal of a broker with devices',
      () => send('PUT', `${BROKERS}/${one}`, { body: { is_active: false } }),
      409,
    ],
    ['a deletion of a broker with devices', () => send('DELETE', `${BROKERS}/${one}`), 409],
    ['a deletion of an unknown broker', () => send('DELETE', `${BROKERS}/999999`), 404],
    [
      'a key for an unknown broker',
      () => send('POST', KEYS, { body: { fleetId: 'f', default_broker_id: 999_999 } }),
      422,
    ],
    [
      'a change of a key to an unknown broker',
      ({ key }) => send('PUT', `${KEYS}/${key}`, { body: { default_broker_id: 999_999 } }),
      422,
    ],
    ['a job to an unknown broker', () => requestJob(999_999), 422],
    ['a cancellation of a finished job', ({ job }) => send('POST', `${JOBS}/${job}/cancel`), 409],
    ['a resumption of a finished job', ({ job }) => send('POST', `${JOBS}/${job}/resume`), 409],
    [
      'a stale change of a broker',
      ({ two }) => send('PUT', `${BROKERS}/${two}`, { body: { port: 1 }, headers: { 'if-match': '"x"' } }),
      412,
    ],
    [
      'a stale deletion of a broker',
      ({ two }) => send('DELETE', `${BROKERS}/${two}`, { headers: { 'if-match': '"x"' } }),
      412,
    ],
    [
      'a stale change of a key',
      ({ key }) => send('PUT', `${KEYS}/${key}`, { body: { max_devices: 1 }, headers: { 'if-match': '"x"' } }),
      412,
    ],
    [
      'a stale revocation',
      ({ key }) => send('DELETE', `${KEYS}/${key}`, { body: {}, headers: { 'if-match': '"x"' } }),
      412,
    ],
  ])('%s', async (_, attempt, status) => {
    const two = await created({ name: 'two' });
    const { id: key } = await issueKey();
    await addDevices(berth, 1);
    const job = (await onJob('GET', (await requestJob(null, { all: true })).body.id)).body.id;
    await forget();
    const reply = await attempt({ two, key, job });
    expect(reply.status, reply.text).toBe(status);
    expect(await recorded()).toEqual([]);
  });

  it.each([
    ['mqtt_broker_config', 'insert', () => send('POST', BROKERS, { body: { name: 'x', host: 'a.example', port: 1 } })],
    ['mqtt_broker_config', 'update', () => send('PUT', `${BROKERS}/${one}`, { body: { port: 2 } })],
    ['provisioning_keys', 'insert', () => send('POST', KEYS, { body: { fleetId: 'f' } })],
    ['bulk_assign_jobs', 'insert', () => requestJob(null)],
  ])(
    'a change of %s that fails in the database (%s), and nothing changes when the record fails',
    async (table, event, attempt) => {
      const [before] = await berth.sql(
        `select count(*)::int, coalesce(max(xmin::text::bigint), 0) as version from ${table}`,
      );
      await withTrigger(berth, `after ${event} on ${table}`, `raise exception 'no'`, async () => {
        expect((await attempt()).status).toBe(500);
      });
      expect(await recorded()).toEqual([]);
      await withTrigger(berth, 'after insert on operator_events', `raise exception 'no'`, async () => {
        expect((await attempt()).status).toBe(500);
      });
      const [after] = await berth.sql(
        `select count(*)::int, coalesce(max(xmin::text::bigint), 0) as version from ${table}`,
      );
      expect(after).toEqual(before);
      expect((await attempt()).status).toBeLessThan(300);
      expect(await recorded()).toHaveLength(1);
    },
  );
});

describe('a request whose reply was lost, and that the database gets twice, is recorded once', () => {
  /** Loses the reply of the statement after `before` others. */
  async function losing(before: number, request: () => Promise<Answer>) {
    await call(`GET ${BROKERS}`, { headers: admin });
    const connections = proxy.accepted();
    proxy.loseReply(undefined, before);
    const reply = await request();
    expect(proxy.accepted(), 'lost').toBe(connections + 1);
    return reply;
  }
  const etagOf = async (path: string) => (await send('GET', path)).headers.etag as string;

  it.each([
    ['a port', 2, { port: 8884 }, 'broker-changed'],
    ['a password', 1, { username: 'probe', password: 'p-1' }, 'broker-changed'],
    ['a withdrawal', 3, { is_active: false }, 'broker-changed'],
    ['the default', 2, { is_default: true }, 'default-changed'],
  ])('PUT of a broker, with If-Match: %s', async (_, before, body, type) => {
    const id = await created();
    const etag = await etagOf(`${BROKERS}/${id}`);
    await forget();
    const reply = await losing(before, () => send('PUT', `${BROKERS}/${id}`, { body, headers: { 'if-match': etag } }));
    expect(reply).toMatchObject({ status: 200, body: { devices_affected: null } });
    expect(reply.headers.etag).toBe(await etagOf(`${BROKERS}/${id}`));
    expect((await recorded()).filter((event) => event.id === String(id)).map((event) => event.type)).toEqual([type]);
  });

  it('POST and DELETE of a broker, with If-Match', async () => {
    const body = { name: 'x', host: 'mqtt.example.com', port: 1883 };
    const { body: made, headers } = await losing(1, () => send('POST', BROKERS, { body }));
    const target = `${BROKERS}/${made.data.id}`;
    const reply = await losing(3, () => send('DELETE', target, { headers: { 'if-match': headers.etag as string } }));
    expect(reply.status).toBe(200);
    expect(await types()).toEqual(['broker-created', 'broker-deleted']);
  });

  it('a provisioning key: issued, changed, revoked with If-Match', async () => {
    const issued = await losing(0, () => send('POST', KEYS, { body: { fleetId: 'f' } }));
    const target = `${KEYS}/${issued.body.id}`;
    const ifMatch = async () => ({ 'if-match': await etagOf(target) });
    let headers = await ifMatch();
    expect((await losing(0, () => send('PUT', target, { body: { max_devices: 3 }, headers }))).status).toBe(200);
    headers = await ifMatch();
    expect((await losing(0, () => send('DELETE', target, { body: { reason: 'x' }, headers }))).status).toBe(200);
    expect(await types()).toEqual(['key-issued', 'key-changed', 'key-revoked']);
  });

  it('a job: created, cancelled, resumed, reverted', async () => {
    const two = await addBroker(berth);
    const headers = { prefer: 'respond-async' };
    const { id } = (await losing(0, () => requestJob(two, { all: true }, { headers }))).body;
    for (const verb of ['/cancel', '/resume', '/cancel', '/revert']) {
      expect((await losing(0, () => send('POST', `${JOBS}/${id}${verb}`, { headers }))).status).toBeLessThan(300);
    }
    expect(await types()).toEqual(['job-created', 'job-cancelled', 'job-resumed', 'job-cancelled', 'job-created']);
  });
});

describe('secrets', () => {
  it('no password, private key, hash or key is recorded, only that there is a new one', async () => {
    const secrets = { password: 'hunter-2-password', client_key: client.key };
    const id = await created({ username: 'probe', client_cert: client.cert, ...secrets });
    await send('PUT', `${BROKERS}/${id}`, { body: { password: 'hunter-3-password' } });
    await send('PUT', `${BROKERS}/${id}`, { body: { client_key: client.key } });
    await send('PUT', `${BROKERS}/${id}`, { body: { password: null } });
    await berth.sql(
      `update mqtt_broker_config set password_hash = 'legacy-hash', client_key = 'legacy-key' where id = $1`,
      [id],
    );
    await send('DELETE', `${BROKERS}/${id}`);
    const { id: keyId, key } = await issueKey();
    await send('PUT', `${KEYS}/${keyId}`, { body: { max_devices: 3 } });
    await send('DELETE', `${KEYS}/${keyId}`, { body: {} });
    const [stored] = await berth.sql('select key_hash from provisioning_keys where id = $1', [keyId]);
    const all = JSON.stringify(await berth.sql('select * from operator_events'));
    const history = await send('GET', '/api/v1/events');
    for (const text of [all, history.text]) {
      for (const secret of ['hunter', 'PRIVATE KEY', 'legacy-', '1$', key, stored?.key_hash, 'hash']) {
        expect(text).not.toContain(secret);
      }
    }
    expect(await recorded()).toMatchObject([
      { type: 'broker-created', after: { has_password: true, has_client_key: true } },
      { type: 'broker-changed', before: null, after: { password: 'new' } },
      { type: 'broker-changed', before: null, after: { client_key: 'new' } },
      { type: 'broker-changed', before: { has_password: true }, after: { has_password: false } },
      { type: 'broker-deleted' },
      { type: 'key-issued' },
      { type: 'key-changed' },
      { type: 'key-revoked' },
    ]);
  });

  it('a long value, such as a certificate, is recorded as its hash', async () => {
    const id = await created({ ca_cert: client.cert.repeat(3), description: 'd'.repeat(1_500) });
    const hash = expect.stringMatching(/^sha256:[0-9a-f]{64}$/);
    expect((await recorded())[0]?.after).toMatchObject({ ca_cert: hash, description: hash });
    await send('PUT', `${BROKERS}/${id}`, { body: { description: 'e'.repeat(1_500) } });
    const [, { before, after }] = (await recorded()) as [unknown, Record<string, { description: string }>];
    expect(before?.description).not.toBe(after?.description);
  });
});

describe('the functions’ role', () => {
  const ctx = () => contextFor(5_000);

  it('adds and reads records, and neither changes nor deletes them', async () => {
    await created();
    expect(await query(ctx(), (sql) => sql`select id from operator_events`)).toHaveLength(1);
    for (const statement of [
      'update operator_events set actor = null',
      'delete from operator_events',
      'truncate operator_events',
    ]) {
      await expect(
        query(ctx(), (sql) => sql.unsafe(statement)),
        statement,
      ).rejects.toMatchObject({ code: '42501' });
    }
    const [granted] = await berth.sql(
      `select has_function_privilege('pg_monitor', 'berth_purge_operator_events(integer, integer)', 'execute') as may`,
    );
    expect(granted?.may).toBe(false);
  });

  it('removes nothing that is younger than a year', async () => {
    await berth.sql(`
      insert into operator_events (type, target_kind, target_id, at)
      select 'broker-tested', 'broker', days::text, now() - make_interval(days => days) from unnest(array[366, 364, 1]) days`);
    await query(ctx(), (sql) => sql`select berth_purge_operator_events(1, 10)`);
    expect((await recorded()).map(({ id }) => id)).toEqual(['364', '1']);
  });
});
