import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { log } from '../../lib/log.ts';
import { call } from '../support/api.ts';
import {
  addBroker,
  admin,
  counts,
  issueKey,
  newDevice,
  register,
  setEnv,
  TERMINATE_CONNECTIONS,
  useBerth,
  withTrigger,
} from '../support/berth.ts';
import { type Mode, startProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const berth = useBerth();
let proxy: TcpProxy;
let key: string;
beforeAll(async () => {
  const url = new URL(process.env.DATABASE_URL as string);
  proxy = await startProxy(Number(url.port));
  setEnv({ DATABASE_URL: Object.assign(url, { port: proxy.port }).href });
  key = (await issueKey({ maxDevices: 1000 })).key;
});
afterAll(() => proxy.close());
afterEach(() => proxy.set('pass'));

describe.each<Mode>(['refuse', 'reset', 'hang-up', 'stall'])('database fault: %s', (mode) => {
  it('503 database-unavailable with Retry-After within 6 s; the first request after the recovery works', async () => {
    const device = newDevice();
    await proxy.set(mode);
    const started = Date.now();
    const { status, body, headers } = await register(key, device);
    expect({ status, code: body.code }).toEqual({ status: 503, code: 'database-unavailable' });
    expect(Date.now() - started).toBeLessThan(6_000);
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
    await proxy.set('pass');
    const again = await register(key, device);
    expect(again.status).toBe(200);
    expect((await register(key, device)).text).toBe(again.text);
  });

  it('503 database-unavailable: an operator’s request; the first one after the recovery works', async () => {
    await proxy.set(mode);
    const query = { fleetId: 'fleet-a' };
    expect(await call('GET /api/v1/provisioning-keys', { headers: admin, query })).toMatchObject({
      status: 503,
      body: { code: 'database-unavailable' },
    });
    await proxy.set('pass');
    expect(await call('GET /api/v1/provisioning-keys', { headers: admin, query })).toMatchObject({ status: 200 });
  });
});

it('every line about the database in the log has the id of the request', async () => {
  const lines = (['warn', 'error'] as const).map((level) => vi.spyOn(log, level));
  onTestFinished(() => void vi.restoreAllMocks());
  await proxy.set('reset');
  const { body } = await register(key, newDevice());
  const logged = lines.flatMap(({ mock }) => mock.calls).filter(([what]) => String(what).startsWith('database'));
  expect(logged.map(([what]) => what)).toEqual(
    expect.arrayContaining(['database statement repeated', 'database unavailable']),
  );
  for (const [what, fields] of logged) expect(fields, String(what)).toMatchObject({ requestId: body.requestId });
});

it('200: the first request after the server closed the idle connection', async () => {
  await register(key, newDevice());
  expect(await berth.sql(TERMINATE_CONNECTIONS)).toHaveLength(1);
  expect((await register(key, newDevice())).status).toBe(200);
});

it('200 within 2 s, 20 times: the connection is reset just before the request', async () => {
  for (let n = 0; n < 20; n++) {
    await register(key, newDevice());
    await proxy.set('reset');
    await proxy.set('pass');
    const started = Date.now();
    expect((await register(key, newDevice())).status).toBe(200);
    expect(Date.now() - started).toBeLessThan(2_000);
  }
});

it('200 and registered once: the connection is killed while the statement runs', async () => {
  const before = await counts(berth);
  await withTrigger(berth, 'before insert on devices', 'perform pg_sleep(0.5)', async () => {
    const pending = register(key, newDevice());
    await sleep(200);
    expect(await berth.sql(TERMINATE_CONNECTIONS)).toHaveLength(1);
    expect((await pending).status).toBe(200);
  });
  const after = await counts(berth);
  expect([after.devices - before.devices, after.used - before.used]).toEqual([1, 1]);
});

it('503 after at most 4 connection attempts: the database closes each connection immediately', async () => {
  await proxy.set('hang-up');
  const before = proxy.accepted();
  expect((await register(key, newDevice())).status).toBe(503);
  expect(proxy.accepted() - before).toBeLessThanOrEqual(4);
});

it('503 within 2.4 s: the database stalls and the Lambda has 2.5 s left', async () => {
  await proxy.set('stall');
  const started = Date.now();
  const { status } = await register(key, newDevice(), { remainingMs: 2_500 });
  expect(status).toBe(503);
  expect(Date.now() - started).toBeLessThan(2_400);
});

describe('a change by an operator is repeated after its reply was lost', () => {
  const path = '/api/v1/devices';
  const eventsOf = async (uuid: string) =>
    (await berth.sql('select type from device_events where device_uuid = $1 order by id', [uuid])).map(
      ({ type }) => type,
    );
  /** How the reply of `change` is lost: after the commit, or while the statement runs. */
  const losses: Record<string, <T>(event: string, change: () => Promise<T>) => Promise<T>> = {
    'after the commit': async (_, change) => {
      proxy.loseReply();
      return change();
    },
    'before the commit': (event, change) =>
      withTrigger(berth, `after ${event} on devices`, 'perform pg_sleep(0.5)', async () => {
        const pending = change();
        await sleep(200);
        await proxy.set('reset');
        await proxy.set('pass');
        return pending;
      }),
  };

  describe.each(Object.entries(losses))('%s', (_, lose) => {
    it('200: DELETE, recorded once', async () => {
      const device = newDevice();
      await register(key, device);
      const connections = proxy.accepted();
      const reply = await lose('delete', () => call(`DELETE ${path}/${device.uuid}`, { headers: admin }));
      expect(proxy.accepted()).toBeGreaterThan(connections);
      expect(reply).toMatchObject({ status: 200, body: { status: 'ok', uuid: device.uuid } });
      expect(await eventsOf(device.uuid)).toEqual(['registered', 'deleted']);
      expect((await call(`DELETE ${path}/${device.uuid}`, { headers: admin })).status).toBe(404);
    });

    it('200 with the new tag: PUT with If-Match, recorded once', async () => {
      const device = newDevice();
      await register(key, device);
      const { etag } = (await call(`GET ${path}/${device.uuid}`, { headers: admin })).headers as { etag: string };
      const put = () => {
        const headers = { ...admin, 'if-match': etag };
        return call(`PUT ${path}/${device.uuid}`, { headers, body: { device_name: 'Pump 8', is_active: false } });
      };
      const reply = await lose('update', put);
      expect(reply).toMatchObject({
        status: 200,
        body: { device: { device_name: 'Pump 8', is_active: false }, resolved_broker: { source: 'default' } },
      });
      const now = await call(`GET ${path}/${device.uuid}`, { headers: admin });
      expect(reply.headers.etag).toBe(now.headers.etag);
      expect(reply.body.device).toEqual(now.body.device);
      expect((await eventsOf(device.uuid)).sort()).toEqual(['deactivated', 'registered', 'updated']);
      expect((await put()).status).toBe(412);
    });

    it('200: PUT with If-Match that changes nothing', async () => {
      const device = newDevice();
      await register(key, device);
      const { etag } = (await call(`GET ${path}/${device.uuid}`, { headers: admin })).headers as { etag: string };
      const options = { headers: { ...admin, 'if-match': etag }, body: { device_name: device.deviceName } };
      expect((await lose('update', () => call(`PUT ${path}/${device.uuid}`, options))).status).toBe(200);
      expect(await eventsOf(device.uuid)).toEqual(['registered']);
    });

    it('200: rotate-credentials, recorded once', async () => {
      const device = newDevice();
      await register(key, device);
      const rotate = () => call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin });
      expect((await lose('update', rotate)).status).toBe(200);
      expect(await eventsOf(device.uuid)).toEqual(['registered', 'credentials-revoked']);
    });
  });

  it('200 with the new tag: PUT of a provisioning key with If-Match, applied once', async () => {
    const { id } = await issueKey();
    const path = `/api/v1/provisioning-keys/${id}`;
    const get = () => call(`GET ${path}`, { headers: admin });
    const put = (etag: string, days: number) =>
      call(`PUT ${path}`, { headers: { ...admin, 'if-match': etag }, body: { expires_in_days: days } });
    const { etag } = (await get()).headers as { etag: string };
    const version = () => berth.sql('select xmin from provisioning_keys where id = $1', [id]);
    let committed: unknown;
    proxy.loseReply(async () => {
      committed = await version();
    });
    const reply = await put(etag, 5);
    expect(committed).toEqual(await version());
    expect(reply).toMatchObject({ status: 200, body: { id, devices_affected: null } });
    const now = await get();
    expect(reply.headers.etag).toBe(now.headers.etag);
    expect(reply.body.expires_at).toBe(now.body.expires_at);
    expect((await put(etag, 6)).status).toBe(412);
  });

  it('rotate-credentials: the next password, which the device got in the meantime, stays valid', async () => {
    const device = newDevice();
    const first = await register(key, device);
    // Of the row and its user: what a device that asks in the meantime writes.
    proxy.loseReply(() =>
      berth.sql(
        `with device as (update devices set mqtt_password_salt = '1$next' where uuid = $1 returning mqtt_username)
         update mqtt_users set password_hash = 'next' where username in (select mqtt_username from device)`,
        [device.uuid],
      ),
    );
    expect((await call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin })).status).toBe(200);
    const username = first.body.mqtt.username;
    expect(await berth.sql('select password_hash from mqtt_users where username = $1', [username])).toEqual([
      { password_hash: 'next' },
    ]);
  });

  it('DELETE: the device, which registered again in the meantime, stays', async () => {
    const device = newDevice();
    await register(key, device);
    proxy.loseReply(() => berth.sql('insert into devices (uuid) values ($1)', [device.uuid]));
    expect((await call(`DELETE ${path}/${device.uuid}`, { headers: admin })).status).toBe(200);
    expect(await berth.sql('select from devices where uuid = $1', [device.uuid])).toHaveLength(1);
  });

  it('PUT: an attempt that was rolled back is not taken for one whose reply was lost', async () => {
    const device = newDevice();
    await register(key, device);
    const holder = new pg.Client({ connectionString: berth.databaseUrl });
    await holder.connect();
    onTestFinished(() => holder.end());
    await holder.query('begin');
    await holder.query('select from devices where uuid = $1 for update', [device.uuid]);
    const pending = call(`PUT ${path}/${device.uuid}`, { headers: admin, body: { device_name: 'Mine' } });
    // Longer than lock_timeout.
    await sleep(2_500);
    await holder.query('commit');
    expect(await pending).toMatchObject({ status: 200, body: { device: { device_name: 'Mine' } } });
    expect(await eventsOf(device.uuid)).toEqual(['registered', 'updated']);
  });

  it('PUT: the change of another operator in the meantime stays', async () => {
    const device = newDevice();
    await register(key, device);
    proxy.loseReply(() => berth.sql(`update devices set device_name = 'Theirs' where uuid = $1`, [device.uuid]));
    const reply = await call(`PUT ${path}/${device.uuid}`, { headers: admin, body: { device_name: 'Mine' } });
    expect(reply).toMatchObject({ status: 200, body: { device: { device_name: 'Theirs' } } });
    expect(await eventsOf(device.uuid)).toEqual(['registered', 'updated']);
  });
});

describe('a change of a broker is repeated after its reply was lost', () => {
  const path = '/api/v1/mqtt/brokers';
  const rowOf = async (id: number) => (await berth.sql('select * from mqtt_broker_config where id = $1', [id]))[0];
  const setDefault = async (id: number) => {
    await berth.sql('update mqtt_broker_config set is_default = false where is_default');
    await berth.sql('update mqtt_broker_config set is_default = true where id = $1', [id]);
  };
  type Options = { query?: Record<string, string>; body?: unknown };
  /** Sends a request whose last statement loses its reply. `before`: how many statements it runs before. */
  async function send(method: string, id: number | undefined, before: number, options: Options = {}) {
    await call(`GET ${path}`, { headers: admin });
    const connections = proxy.accepted();
    proxy.loseReply(undefined, before);
    const reply = await call(`${method} ${path}${id ? `/${id}` : ''}`, { headers: admin, ...options });
    expect(proxy.accepted(), 'lost').toBe(connections + 1);
    return reply;
  }

  it('201: POST, added once', async () => {
    const [former] = await berth.sql('select id from mqtt_broker_config where is_default');
    const body = { name: 'added-once', host: 'mqtt.example.com', port: 1883, is_default: true };
    const { status, body: reply } = await send('POST', undefined, 1, { body });
    expect(status).toBe(201);
    expect(await rowOf(reply.data.id)).toMatchObject(body);
    await setDefault(former?.id);
  });

  it.each([
    ['a change', 1, { port: 8884 }],
    ['a withdrawal', 2, { is_active: false }],
    ['a new default', 1, { is_default: true }],
  ])('200: PUT with %s', async (_, before, body) => {
    const [former] = await berth.sql('select id from mqtt_broker_config where is_default');
    const id = await addBroker(berth);
    expect(await send('PUT', id, before, { body })).toMatchObject({ status: 200, body: { data: { id, ...body } } });
    expect(await rowOf(id)).toMatchObject(body);
    await setDefault(former?.id);
  });

  it.each([
    ['with force', 2, { force: 'true' }],
    ['without force', 3, {}],
  ])('200: DELETE %s; then 404', async (_, before, query) => {
    const id = await addBroker(berth);
    expect(await send('DELETE', id, before, { query })).toMatchObject({ status: 200, body: { success: true } });
    expect(await rowOf(id)).toBeUndefined();
    expect((await call(`DELETE ${path}/${id}`, { headers: admin, query })).status).toBe(404);
  });

  it('200: DELETE with reassign_to, without the number of devices that it has moved', async () => {
    const id = await addBroker(berth);
    for (const uuid of ['moved-1', 'moved-2']) {
      await berth.sql('insert into devices (uuid, mqtt_broker_id) values ($1, $2)', [uuid, id]);
    }
    const { status, body } = await send('DELETE', id, 3, { query: { reassign_to: 'default' } });
    const message = 'Broker configuration deleted';
    expect({ status, ...body }).toEqual({ status: 200, success: true, message, devices_affected: 2 });
    const moves = await berth.sql(`select device_uuid from device_events where reason = 'broker deleted'`);
    expect(moves).toEqual([{ device_uuid: 'moved-1' }, { device_uuid: 'moved-2' }]);
  });

  it('404: DELETE of a broker that never existed, whichever reply is lost', async () => {
    expect((await send('DELETE', 999_999, 0)).status).toBe(404);
    proxy.loseReply(undefined, 1);
    expect((await call(`DELETE ${path}/999999`, { headers: admin, query: { force: 'true' } })).status).toBe(404);
    // Loses the reply that the deletion did not need.
    await call(`GET ${path}`, { headers: admin });
  });
});

it('201: POST of a provisioning key is repeated after its reply was lost; the key works', async () => {
  await register(key, newDevice());
  proxy.loseReply();
  expect((await register((await issueKey()).key, newDevice())).status).toBe(200);
});

it('201: POST of a provisioning key, also when its broker takes no new devices since', async () => {
  const id = await addBroker(berth);
  await register(key, newDevice());
  proxy.loseReply(() => berth.sql('update mqtt_broker_config set accepts_new_devices = false where id = $1', [id]));
  expect(await issueKey({ default_broker_id: id })).toMatchObject({ default_broker_id: id });
});
