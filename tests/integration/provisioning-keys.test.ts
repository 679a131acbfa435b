import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, call } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';

let berth: Berth;
let brokerId: number;

beforeAll(async () => {
  berth = await startBerth();
  brokerId = await addBroker(berth, { name: 'main', is_default: true });
});
afterAll(() => berth.stop());
beforeEach(() => setEnv({}));

const path = '/api/v1/provisioning-keys';

describe('issuing', () => {
  it('returns the legacy reply, with a key that works', async () => {
    const { status, body } = await call(`POST ${path}`, {
      headers: admin,
      body: { fleetId: 'fz', description: 'line 3' },
    });
    expect(status).toBe(201);
    expect(body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      key: expect.stringMatching(/^prov_[0-9a-f-]{36}_[A-Za-z0-9_-]{43}$/),
      fleetId: 'fz',
      maxDevices: 100,
      expiresAt: expect.any(String),
      description: 'line 3',
      warning: 'Store this key securely - it cannot be retrieved again!',
    });
    expect(Date.parse(body.expiresAt) - Date.now()).toBeGreaterThan(364 * 86_400_000);
    expect(await register(body.key, newDevice())).toMatchObject({ status: 200, body: { fleetId: 'fz' } });
  });

  it('the same Idempotency-Key and body: the same reply, and one key, which works', async () => {
    const issue = (once: string | undefined, body: object = { fleetId: 'once' }) =>
      call(`POST ${path}`, { headers: { ...admin, ...(once ? { 'idempotency-key': once } : {}) }, body });
    const first = await issue('a');
    expect(first.status).toBe(201);
    expect(first.body.key).toMatch(
      /^prov_[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}_[\w-]{43}$/,
    );
    expect(await issue('a')).toMatchObject({ status: 201, body: first.body });
    const others = [
      await issue('b'),
      await issue('a', { fleetId: 'once', maxDevices: 7 }),
      await issue(undefined),
      await issue(undefined),
    ];
    expect(new Set([first, ...others].map(({ body }) => body.key)).size).toBe(5);
    expect(await call(`GET ${path}`, { headers: admin, query: { fleetId: 'once' } })).toMatchObject({
      body: { count: 5 },
    });
    expect(await register(first.body.key, newDevice())).toMatchObject({ status: 200, body: { fleetId: 'once' } });
    expect(await issue('ü')).toMatchObject({ status: 400, body: { errors: [{ path: 'Idempotency-Key' }] } });
  });

  it('accepts the spelling of the columns', async () => {
    const second = await addBroker(berth);
    const columns = { fleet_id: 'fz', max_devices: 7, expires_in_days: 10, default_broker_id: second };
    const { status, body } = await call(`POST ${path}`, { headers: admin, body: columns });
    expect({ status, body }).toMatchObject({
      status: 201,
      body: { fleetId: 'fz', maxDevices: 7, default_broker_id: second },
    });
    expect(Date.parse(body.expiresAt) - Date.now()).toBeLessThanOrEqual(10 * 86_400_000);
  });

  it.each(['default_broker_id', 'defaultBrokerId'])('assigns its devices to %s', async (member) => {
    const second = await addBroker(berth);
    const { key } = await issueKey({ [member]: second });
    const device = newDevice();
    const { body } = await register(key, device);
    expect(body.mqtt.assignment).toMatchObject({ source: 'provisioning_key', brokerId: second });
    const [row] = await berth.sql('select mqtt_broker_id, mqtt_broker_assigned_at from devices where uuid = $1', [
      device.uuid,
    ]);
    expect(row).toMatchObject({ mqtt_broker_id: second, mqtt_broker_assigned_at: expect.any(Date) });
  });

  it.each([
    ['nothing', undefined, 'missing-fields', 'fleetId'],
    ['maxDevices 0', { fleetId: 'f', maxDevices: 0 }, 'invalid-request', 'maxDevices'],
    ['maxDevices null', { fleetId: 'f', maxDevices: null }, 'missing-fields', 'maxDevices'],
    ['maxDevices 1.5', { fleetId: 'f', maxDevices: 1.5 }, 'invalid-request', 'maxDevices'],
    ['maxDevices 10001', { fleetId: 'f', maxDevices: 10_001 }, 'invalid-request', 'maxDevices'],
    ['maxDevices "5"', { fleetId: 'f', maxDevices: '5' }, 'invalid-request', 'maxDevices'],
    ['expiresInDays 0', { fleetId: 'f', expiresInDays: 0 }, 'invalid-request', 'expiresInDays'],
    ['expiresInDays 3651', { fleetId: 'f', expiresInDays: 3651 }, 'invalid-request', 'expiresInDays'],
    ['fleetId a number', { fleetId: 1 }, 'invalid-request', 'fleetId'],
    ['fleetId over-long', { fleetId: 'x'.repeat(101) }, 'invalid-request', 'fleetId'],
    ['a broker id of 2^31', { fleetId: 'f', default_broker_id: 2 ** 31 }, 'invalid-request', 'default_broker_id'],
    ['both spellings of the fleet', { fleetId: 'f', fleet_id: 'f' }, 'invalid-request', 'fleet_id'],
    ['both spellings of the quota', { fleetId: 'f', maxDevices: 1, max_devices: 2 }, 'invalid-request', 'max_devices'],
    ['fleet_id empty', { fleet_id: '' }, 'missing-fields', 'fleet_id'],
    ['max_devices 0', { fleetId: 'f', max_devices: 0 }, 'invalid-request', 'max_devices'],
    ['expires_in_days 0', { fleetId: 'f', expires_in_days: 0 }, 'invalid-request', 'expires_in_days'],
    ['an unknown field', { fleetId: 'f', maxDevice: 5 }, 'invalid-request', 'maxDevice'],
  ])('%s is 400 and names the field', async (_, body, code, field) => {
    const reply = await call(`POST ${path}`, { headers: admin, body });
    expect(reply).toMatchObject({ status: 400, body: { code, errors: [{ path: field }] } });
  });

  it('an unknown broker is 422', async () => {
    const reply = await call(`POST ${path}`, { headers: admin, body: { fleetId: 'f', default_broker_id: 999_999 } });
    expect(reply).toMatchObject({ status: 422, body: { code: 'broker-not-found' } });
  });

  it.each([
    ['draining', 'accepts_new_devices'],
    ['inactive', 'is_active'],
  ])('a broker that takes no new devices is 422, and no key is issued: %s', async (refusal, column) => {
    const broker = await addBroker(berth, { [column]: false });
    const body = { fleetId: refusal, default_broker_id: broker };
    const reply = await call(`POST ${path}`, { headers: admin, body });
    expect(reply).toMatchObject({ status: 422, body: { code: `broker-${refusal}` } });
    expect(await berth.sql('select from provisioning_keys where fleet_id = $1', [refusal])).toEqual([]);
  });
});

describe('listing', () => {
  it('returns the legacy members, newest first, and neither key nor hash', async () => {
    const older = await issueKey({ fleetId: 'fl' });
    const newer = await issueKey({ fleetId: 'fl', default_broker_id: brokerId });
    const reply = await call(`GET ${path}`, { headers: admin, query: { fleetId: 'fl' } });
    expect(reply).toMatchObject({
      status: 200,
      body: { fleet_id: 'fl', count: 2, keys: [{ id: newer.id }, { id: older.id }] },
    });
    expect(Object.keys(reply.body.keys[0]).sort()).toEqual(
      [
        'created_at',
        'created_by',
        'default_broker_id',
        'description',
        'devices_provisioned',
        'expires_at',
        'fleet_id',
        'id',
        'is_active',
        'last_used_at',
        'max_devices',
        'updated_at',
        'updated_by',
      ].sort(),
    );
    for (const secret of [older.key, newer.key, 'hash']) expect(reply.text).not.toContain(secret);
  });

  it('of more than 1,000 keys returns 1,000 and `next`, which leads to every other key once', async () => {
    await berth.sql(`
      insert into provisioning_keys (key_hash, fleet_id, max_devices, expires_at, created_at)
      select 'hash', case when n % 7 = 0 then 'other' else 'many' end, 1, now(),
             case when n % 5 > 0 then timestamp '2026-01-01' + interval '1 minute' * (n / 3) end
      from generate_series(1, 2900) n`);
    const ids: string[] = [];
    const counts: number[] = [];
    let next: string | undefined = `${path}?fleetId=many`;
    while (next) {
      const [target = '', search] = next.split('?');
      const query = Object.fromEntries(new URLSearchParams(search));
      const { status, body } = await call(`GET ${target}`, { headers: admin, query });
      expect({ status, fleet: body.fleet_id, count: body.count }).toEqual({
        status: 200,
        fleet: 'many',
        count: body.keys.length,
      });
      ids.push(...body.keys.map(({ id }: { id: string }) => id));
      counts.push(body.count);
      next = body.next;
    }
    expect(counts).toEqual([1000, 1000, 486]);
    const all = await berth.sql(`
      select id::text from provisioning_keys where fleet_id = 'many'
      order by coalesce(created_at, 'infinity') desc, id desc`);
    expect(ids).toEqual(all.map(({ id }) => id));
  });

  it.each([{ limit: '0' }, { limit: '1001' }, { after: 'x' }])('a page of %j is 400', async (query) => {
    const reply = await call(`GET ${path}`, { headers: admin, query: { fleetId: 'fl', ...query } });
    expect(reply).toMatchObject({ status: 400, body: { code: 'invalid-request' } });
  });

  it('without fleetId returns the keys of all fleets, in pages', async () => {
    const ids: string[] = [];
    let query: Record<string, string> | undefined = { limit: '999' };
    while (query) {
      const { status, body }: Answer = await call(`GET ${path}`, { headers: admin, query });
      expect({ status, fleet: body.fleet_id }).toEqual({ status: 200, fleet: null });
      ids.push(...body.keys.map(({ id }: { id: string }) => id));
      query = body.next && Object.fromEntries(new URLSearchParams(body.next.split('?')[1]));
    }
    const all = await berth.sql(
      `select id::text from provisioning_keys order by coalesce(created_at, 'infinity') desc, id desc`,
    );
    expect(ids.length).toBeGreaterThan(2900);
    expect(ids).toEqual(all.map(({ id }) => id));
  });

  it('accepts fleet_id, too', async () => {
    const { body } = await call(`GET ${path}`, { headers: admin, query: { fleet_id: 'fl' } });
    expect(body).toMatchObject({ fleet_id: 'fl', count: 2 });
  });

  it.each([
    ['an empty fleet', { fleetId: '' }, 'fleetId'],
    ['an over-long fleet', { fleet_id: 'x'.repeat(101) }, 'fleet_id'],
    ['both spellings', { fleetId: 'fl', fleet_id: 'fl' }, 'fleet_id'],
    ['a typo, which would list all fleets', { fleetid: 'fl' }, 'fleetid'],
  ])('%s is 400 with the legacy error, and names the parameter', async (_, query, field) => {
    expect(await call(`GET ${path}`, { headers: admin, query })).toMatchObject({
      status: 400,
      body: { error: 'Invalid request', errors: [{ path: field }] },
    });
  });
});

describe('revoking', () => {
  it('ends registration with the key, and may be repeated', async () => {
    const { id, key } = await issueKey();
    const revoke = () => call(`DELETE ${path}/${id}`, { headers: admin, body: { reason: 'leaked' } });
    const body = { status: 'ok', message: 'Provisioning key revoked', keyId: id, reason: 'leaked' };
    expect(await revoke()).toMatchObject({ status: 200, body });
    expect(await revoke()).toMatchObject({ status: 200, body });
    expect(await register(key, newDevice())).toMatchObject({
      status: 401,
      body: { error: 'Invalid provisioning key', code: 'provisioning-key-revoked' },
    });
    expect(await call(`DELETE ${path}/${id}`, { headers: admin })).toMatchObject({ status: 200 });
  });

  it.each([
    ['00000000-0000-4000-8000-000000000000', 404, 'provisioning-key-not-found'],
    ['7', 400, 'invalid-request'],
  ])('%s is %i', async (id, status, code) => {
    expect(await call(`DELETE ${path}/${id}`, { headers: admin })).toMatchObject({ status, body: { code } });
  });
});

describe('authorisation', () => {
  const routes = [`POST ${path}`, `GET ${path}`, `DELETE ${path}/00000000-0000-4000-8000-000000000000`];
  it.each(routes)('%s is 403 without ADMIN_AUTH, even for bad input', async (route) => {
    setEnv({ ADMIN_AUTH: '' });
    expect(await call(route, { headers: admin, body: '{' })).toMatchObject({
      status: 403,
      body: { code: 'admin-disabled' },
    });
  });

  it.each(routes)('%s requires the admin token', async (route) => {
    const { key } = await issueKey();
    expect(await call(route, {})).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    for (const wrong of ['x', key, `${admin.authorization}x`]) {
      const reply = await call(route, { headers: { authorization: `Bearer ${wrong}` } });
      expect(reply).toMatchObject({ status: 401, body: { code: 'invalid-admin-credential' } });
    }
  });

  it('ADMIN_AUTH=none relies on the gateway', async () => {
    setEnv({ ADMIN_AUTH: 'none' });
    expect(await call(`GET ${path}`, { query: { fleetId: 'f' } })).toMatchObject({ status: 200 });
  });
});
