import { beforeEach, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { admin, issueKey, newDevice, register, setEnv, useBerth } from '../support/berth.ts';
import { assign } from '../support/bulk.ts';

const path = '/api/v1/events';
const berth = useBerth();
beforeEach(async () => {
  setEnv({});
  await berth.sql('truncate devices, device_events, operator_events, bulk_assign_jobs, leases, provisioning_keys');
  await berth.sql('delete from mqtt_broker_config where not is_default');
});

const list = (query: Record<string, string> = {}) => call(`GET ${path}`, { headers: admin, query });
const send = (method: string, target: string, body?: object) =>
  call(`${method} ${target}`, { headers: admin, ...(body ? { body } : {}) });
type Item = { id: number; type: string; target: { kind: string; id: unknown; name: string | null } };

/** All pages: the items, and how many pages there were. */
async function all(query: Record<string, string>): Promise<{ items: Item[]; pages: number }> {
  const items: Item[] = [];
  let next: string | undefined = `${path}?${new URLSearchParams(query)}`;
  for (let pages = 0; ; pages++) {
    if (!next) return { items, pages };
    const reply = await list(Object.fromEntries(new URLSearchParams(next.split('?')[1])));
    expect(reply.status, reply.text).toBe(200);
    items.push(...reply.body.items);
    next = reply.body.next;
  }
}
const idsOf = ({ items }: { items: Item[] }) => items.map(({ id }) => id);

/** A device that registers and moves, a broker, a key and a job. */
async function prepare() {
  const two = (await send('POST', '/api/v1/mqtt/brokers', { name: 'two', host: 'mqtt.example.com', port: 1883 })).body
    .data.id;
  const key = await issueKey({ fleetId: 'fleet-a', description: 'line 3' });
  const device = newDevice({ deviceName: 'Pump <b>7</b>' });
  await register(key.key, device);
  await send('PUT', `/api/v1/devices/${device.uuid}`, { mqtt_broker_id: two, reason: 'closer' });
  const job = (await assign(null, { filter: { fleet_id: 'fleet-a' } })).body.id;
  return { two, key, device, job };
}

describe('GET /events', () => {
  it('has the events of devices and of operators in one list, newest first', async () => {
    const { two, key, device, job } = await prepare();
    const { status, body } = await list();
    expect(status).toBe(200);
    const [one] = await berth.sql('select id, name from mqtt_broker_config where is_default');
    const atTwo = { mqtt_broker_id: two, mqtt_broker_name: 'two' };
    const followsDefault = { mqtt_broker_id: null, mqtt_broker_name: null };
    const target = { kind: 'device', id: device.uuid, name: 'Pump <b>7</b>' };
    expect(body).toEqual({
      items: [
        {
          type: 'moved',
          target,
          actor: 'admin',
          before: atTwo,
          after: followsDefault,
          reason: 'bulk-assign',
          job_id: job,
        },
        {
          type: 'job-created',
          target: { kind: 'job', id: job, name: null },
          actor: 'admin',
          before: null,
          reason: null,
        },
        { type: 'moved', target, actor: 'admin', before: followsDefault, after: atTwo, reason: 'closer', job_id: null },
        {
          type: 'registered',
          target,
          actor: `device:${device.uuid}`,
          before: null,
          after: { fleet_id: 'fleet-a', mqtt_broker_id: one?.id, mqtt_broker_name: one?.name },
        },
        { type: 'key-issued', target: { kind: 'key', id: key.id, name: 'fleet-a' }, actor: 'admin', before: null },
        { type: 'broker-created', target: { kind: 'broker', id: two, name: 'two' }, actor: 'admin', before: null },
      ].map((item) => expect.objectContaining(item)),
    });
    expect(Object.keys(body.items[0])).toEqual(Object.keys(body.items[1]));
    for (const { id, at } of body.items) expect([typeof id, new Date(at).toISOString()]).toEqual(['number', at]);
  });

  it.each<[string, (made: Awaited<ReturnType<typeof prepare>>) => Record<string, string>, string[]]>([
    ['kind=operator', () => ({ kind: 'operator' }), ['job-created', 'key-issued', 'broker-created']],
    ['kind=device', () => ({ kind: 'device' }), ['moved', 'moved', 'registered']],
    ['a type of devices', () => ({ type: 'moved' }), ['moved', 'moved']],
    ['a type of operators', () => ({ type: 'key-issued' }), ['key-issued']],
    ['a type of the other kind', () => ({ type: 'moved', kind: 'operator' }), []],
    ['an actor', ({ device }) => ({ actor: `device:${device.uuid}` }), ['registered']],
    ['a broker', ({ two }) => ({ broker_id: String(two) }), ['moved', 'moved', 'broker-created']],
    ['a key', ({ key }) => ({ key_id: key.id }), ['key-issued']],
    ['a job', ({ job }) => ({ job_id: String(job) }), ['moved', 'job-created']],
    ['a device', ({ device }) => ({ device_uuid: device.uuid }), ['moved', 'moved', 'registered']],
    ['a device and a type', ({ device }) => ({ device_uuid: device.uuid, type: 'moved' }), ['moved', 'moved']],
    ['a device and a job', ({ device, job }) => ({ device_uuid: device.uuid, job_id: String(job) }), ['moved']],
    ['an unknown device', () => ({ device_uuid: 'nobody' }), []],
    ['a broker and a key', ({ two, key }) => ({ broker_id: String(two), key_id: key.id }), []],
  ])('the filter %s', async (_, query, types) => {
    const made = await prepare();
    const { status, body } = await list(query(made));
    expect({ status, types: body.items.map(({ type }: Item) => type), next: body.next }).toEqual({
      status: 200,
      types,
    });
  });

  it('the events of a deleted device, without its name', async () => {
    const { device } = await prepare();
    await send('DELETE', `/api/v1/devices/${device.uuid}`);
    const { body } = await list({ device_uuid: device.uuid });
    expect(body.items.map(({ type, target }: Item) => [type, target.name])).toEqual([
      ['deleted', null],
      ['moved', null],
      ['moved', null],
      ['registered', null],
    ]);
  });

  it('the name of a deleted broker', async () => {
    const { two } = await prepare();
    await send('DELETE', `/api/v1/mqtt/brokers/${two}`, undefined);
    const { body } = await list({ broker_id: String(two), kind: 'operator' });
    expect(body.items.map(({ type, target }: Item) => [type, target])).toEqual([
      ['broker-deleted', { kind: 'broker', id: two, name: 'two' }],
      ['broker-created', { kind: 'broker', id: two, name: 'two' }],
    ]);
  });

  it.each([
    { limit: '0' },
    { limit: '201' },
    { before: 'x' },
    { kind: 'broker' },
    { type: 'guessed' },
    { broker_id: 'x' },
    { key_id: 'x' },
    { job_id: '2147483648' },
    { device_uuid: 'a+b' },
    { actor: '' },
    { sort: 'id' },
  ])('400: %j', async (query) => {
    expect(await list(query)).toMatchObject({ status: 400, body: { code: 'invalid-request' } });
  });

  it('401 without a credential', async () => {
    expect((await call(`GET ${path}`)).status).toBe(401);
  });
});

describe('pages of GET /events', () => {
  /** 60,000 events: every third of an operator, the others of devices, few of them moves. */
  const fill = () =>
    berth.sql(`
      with numbers as (select n, nextval('device_events_id_seq') as id from generate_series(1, 60000) n),
      operator as (
        insert into operator_events (id, type, target_kind, target_id, actor)
        select id, case when n % 15000 = 0 then 'key-issued' else 'broker-tested' end, 'broker', '1', case when n = 3 then 'admin:rare' else 'admin' end
        from numbers where n % 3 = 0)
      insert into device_events (id, type, device_uuid, job_id, actor)
      overriding system value
      select id, case when n % 10000 = 1 then 'moved' else 'refused' end, 'dev-' || n % 7, case when n % 2 = 0 then 1 end,
             case when n = 2 then 'admin:rare' else 'device' end
      from numbers where n % 3 <> 0`);
  const expected = async (where: string) =>
    (
      await berth.sql(`
        select id::int from (select id, type, actor, device_uuid, job_id from device_events
          union all select id, type, actor, null, null from operator_events) e
        where ${where} order by id desc`)
    ).map(({ id }) => id);

  it.each([
    ['everything', {}, 'true', 300],
    ['devices', { kind: 'device' }, `device_uuid is not null`, 200],
    ['operators', { kind: 'operator' }, 'device_uuid is null', 100],
    ['a device', { device_uuid: 'dev-3' }, `device_uuid = 'dev-3' and job_id is null`, 15],
    ['a rare type', { type: 'moved' }, `type = 'moved'`, 3],
    ['a rare type of operators', { type: 'key-issued' }, `type = 'key-issued'`, 1],
    ['a common type', { type: 'refused' }, `type = 'refused'`, 200],
    ['an actor of both', { actor: 'admin:rare' }, `actor = 'admin:rare'`, 3],
    ['an actor of one', { actor: 'admin' }, `actor = 'admin'`, 103],
    ['a job', { job_id: '1' }, 'job_id = 1', 100],
    ['a job and a type', { job_id: '1', type: 'moved' }, `job_id = 1 and type = 'moved'`, 2],
  ])(
    'each event of %s once, newest first, also where a page looks at a part only',
    async (_, query, where, most) => {
      await fill();
      const found = await all({ ...query, limit: '200' });
      expect(idsOf(found)).toEqual(await expected(where));
      expect(found.pages).toBeLessThanOrEqual(most + 1);
    },
    60_000,
  );

  it('an event that is added meanwhile moves no page', async () => {
    for (let n = 0; n < 5; n++) await send('POST', '/api/v1/provisioning-keys', { fleetId: `f${n}` });
    const first = (await list({ limit: '2' })).body;
    await issueKey();
    const { items } = await all(Object.fromEntries(new URLSearchParams(first.next.split('?')[1])));
    expect([...first.items, ...items].map(({ target }: Item) => target.name)).toEqual(['f4', 'f3', 'f2', 'f1', 'f0']);
  });
});
