import { beforeEach, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, newDevice, register, setEnv, useBerth, withTrigger } from '../support/berth.ts';
import { callConcurrently } from '../support/concurrent-calls.ts';

const berth = useBerth();
const path = '/api/v1/provisioning-keys';
const UNKNOWN = '00000000-0000-4000-8000-000000000000';
const DAY_MS = 86_400_000;

let key: { id: string; key: string };
beforeEach(async () => {
  await berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events');
  await berth.sql('delete from mqtt_broker_config where is_default is not true');
  await berth.sql('update mqtt_broker_config set closed_to_former_at = null');
  key = await issueKey({ description: 'line 3' });
});

const put = (body: unknown, headers: Record<string, string> = {}, id = key.id) =>
  call(`PUT ${path}/${id}`, { headers: { ...admin, ...headers }, body });
const get = (id = key.id) => call(`GET ${path}/${id}`, { headers: admin });
const stored = async (id = key.id) =>
  (await berth.sql('select *, xmin from provisioning_keys where id = $1', [id]))[0] as Record<string, unknown>;
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString();

describe('GET /provisioning-keys/{id}', () => {
  it('200 with what the list has of it, and its ETag; neither key nor hash', async () => {
    const { body, headers, text } = await get();
    const listed = await call(`GET ${path}`, { headers: admin });
    expect([body]).toEqual(listed.body.keys);
    expect(headers.etag).toMatch(/^"[0-9a-f]{32}"$/);
    expect(text).not.toMatch(/hash|request_id/);
    expect(text).not.toContain(key.key);
  });

  it.each([
    [UNKNOWN, 404, 'provisioning-key-not-found'],
    ['7', 400, 'invalid-request'],
  ])('%s is %i', async (id, status, code) => {
    expect(await get(id)).toMatchObject({ status, body: { code } });
    expect(await put({ max_devices: 5 }, {}, id)).toMatchObject({ status, body: { code } });
  });
});

describe('PUT /provisioning-keys/{id}', () => {
  it.each([
    ['max_devices', { max_devices: 7 }, { max_devices: 7 }],
    ['maxDevices', { maxDevices: 7 }, { max_devices: 7 }],
    ['description', { description: 'line 4' }, { description: 'line 4' }],
    ['description null', { description: null }, { description: null }],
    ['description empty', { description: '' }, { description: null }],
    ['expires_at', { expires_at: '2030-01-31T12:00:00Z' }, { expires_at: '2030-01-31T12:00:00.000Z' }],
    ['expiresAt', { expiresAt: '2030-01-31T12:00:00+02:00' }, { expires_at: '2030-01-31T10:00:00.000Z' }],
  ])('200: %s alone; everything else stays', async (_, body, changed) => {
    const before = (await get()).body;
    const reply = await put(body);
    expect(reply).toMatchObject({ status: 200, body: { ...changed, updated_by: 'admin', devices_affected: 0 } });
    const { devices_affected: _affected, ...shown } = reply.body;
    expect(shown).toEqual({ ...before, ...changed, updated_at: shown.updated_at, updated_by: 'admin' });
    expect(Date.now() - Date.parse(shown.updated_at)).toBeLessThan(10_000);
    const now = await get();
    expect(now.body).toEqual(shown);
    expect(now.headers.etag).toBe(reply.headers.etag);
  });

  it.each(['expires_in_days', 'expiresInDays'])('200: %s counts from now', async (member) => {
    const { body } = await put({ [member]: 10 });
    const days = (Date.parse(body.expires_at) - Date.now()) / DAY_MS;
    expect(days).toBeGreaterThan(9.99);
    expect(days).toBeLessThanOrEqual(10);
  });

  it('the quota and the expiry decide about the next registration', async () => {
    await put({ max_devices: 1 });
    expect((await register(key.key, newDevice())).status).toBe(200);
    expect((await register(key.key, newDevice())).body.code).toBe('provisioning-key-exhausted');
    await put({ max_devices: 2 });
    expect((await register(key.key, newDevice())).status).toBe(200);
    await put({ max_devices: 1 });
    expect((await register(key.key, newDevice())).body.code).toBe('provisioning-key-exhausted');
    await berth.sql(`update provisioning_keys set expires_at = now() at time zone 'utc' - interval '1 day'`);
    await put({ max_devices: 10, expires_in_days: 1 });
    expect((await register(key.key, newDevice())).status).toBe(200);
  });

  it('leaves other keys and a revocation as they are', async () => {
    const other = await issueKey();
    const before = await stored(other.id);
    await call(`DELETE ${path}/${key.id}`, { headers: admin });
    expect(await put({ max_devices: 7 })).toMatchObject({ status: 200, body: { is_active: false, max_devices: 7 } });
    expect(await stored(other.id)).toEqual(before);
    expect((await register(key.key, newDevice())).body.code).toBe('provisioning-key-revoked');
  });

  it('200 without a write: what the key has already', async () => {
    const { etag } = (await get()).headers as { etag: string };
    const before = await stored();
    const reply = await put({ max_devices: 100, description: 'line 3', default_broker_id: null }, { 'if-match': etag });
    expect(reply).toMatchObject({ status: 200, headers: { etag }, body: { devices_affected: 0 } });
    expect(await stored()).toEqual(before);
  });

  it.each([
    ['nothing', {}, 'nothing-to-update', undefined],
    ['no body', undefined, 'nothing-to-update', undefined],
    ['a typo', { max_device: 5 }, 'invalid-request', 'max_device'],
    ['is_active', { is_active: true }, 'invalid-request', 'is_active'],
    ['a fleet', { fleet_id: 'f' }, 'invalid-request', 'fleet_id'],
    ['max_devices 0', { max_devices: 0 }, 'invalid-request', 'max_devices'],
    ['max_devices 10001', { max_devices: 10_001 }, 'invalid-request', 'max_devices'],
    ['max_devices "5"', { max_devices: '5' }, 'invalid-request', 'max_devices'],
    ['maxDevices 1.5', { maxDevices: 1.5 }, 'invalid-request', 'maxDevices'],
    ['max_devices null', { max_devices: null }, 'missing-fields', 'max_devices'],
    ['expires_in_days 0', { expires_in_days: 0 }, 'invalid-request', 'expires_in_days'],
    ['expires_in_days 3651', { expires_in_days: 3651 }, 'invalid-request', 'expires_in_days'],
    ['expires_at yesterday', { expires_at: inDays(-1) }, 'invalid-request', 'expires_at'],
    ['expires_at in 11 years', { expires_at: inDays(11 * 365) }, 'invalid-request', 'expires_at'],
    ['expires_at without a zone', { expires_at: '2030-01-31T12:00:00' }, 'invalid-request', 'expires_at'],
    ['expires_at 30 February', { expires_at: '2030-02-30T12:00:00Z' }, 'invalid-request', 'expires_at'],
    ['expires_at a number', { expires_at: 1 }, 'invalid-request', 'expires_at'],
    ['both expiries', { expires_at: inDays(5), expiresInDays: 5 }, 'invalid-request', 'expiresInDays'],
    ['both expiries of columns', { expires_at: inDays(5), expires_in_days: 5 }, 'invalid-request', 'expires_in_days'],
    ['two quotas', { max_devices: 5, maxDevices: 5 }, 'invalid-request', 'max_devices'],
    ['two brokers', { default_broker_id: null, defaultBrokerId: 1 }, 'invalid-request', 'defaultBrokerId'],
    ['two brokers, one null', { default_broker_id: 1, defaultBrokerId: null }, 'invalid-request', 'default_broker_id'],
    ['a broker id "1"', { default_broker_id: '1' }, 'invalid-request', 'default_broker_id'],
    ['an over-long description', { description: 'x'.repeat(1001) }, 'invalid-request', 'description'],
    ['a description with NUL', { description: '\0' }, 'invalid-request', 'description'],
  ])('%s is 400, names the field and changes nothing', async (_, body, code, field) => {
    const before = await stored();
    const reply = await put(body);
    expect(reply).toMatchObject({ status: 400, body: { code, ...(field ? { errors: [{ path: field }] } : {}) } });
    expect(await stored()).toEqual(before);
  });

  it('422 for a broker that takes no new devices, unless the key has it already', async () => {
    const broker = await addBroker(berth);
    expect(await put({ default_broker_id: 999_999 })).toMatchObject({
      status: 422,
      body: { code: 'broker-not-found' },
    });
    await berth.sql('update mqtt_broker_config set accepts_new_devices = false where id = $1', [broker]);
    expect(await put({ default_broker_id: broker })).toMatchObject({ status: 422, body: { code: 'broker-draining' } });
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [broker]);
    expect(await put({ default_broker_id: broker })).toMatchObject({ status: 422, body: { code: 'broker-inactive' } });
    expect((await stored()).default_broker_id).toBeNull();
    await berth.sql('update provisioning_keys set default_broker_id = $1', [broker]);
    expect((await put({ default_broker_id: broker, max_devices: 5 })).status).toBe(200);
    expect(await put({ default_broker_id: null })).toMatchObject({ status: 200, body: { default_broker_id: null } });
  });

  it.each([`GET ${path}/${UNKNOWN}`, `PUT ${path}/${UNKNOWN}`])('%s requires an admin credential', async (route) => {
    expect((await call(route, { body: { max_devices: 5 } })).status).toBe(401);
    setEnv({ ADMIN_AUTH: '' });
    expect((await call(route, { headers: admin, body: '{' })).status).toBe(403);
    setEnv({});
  });
});

describe('If-Match', () => {
  it('412 unless the tag is that of the key now; registrations do not change it', async () => {
    const { etag } = (await get()).headers as { etag: string };
    expect((await register(key.key, newDevice())).status).toBe(200);
    const first = await put({ max_devices: 5 }, { 'if-match': etag });
    expect(first.status).toBe(200);
    expect(first.headers.etag).not.toBe(etag);
    expect(await put({ max_devices: 6 }, { 'if-match': etag })).toMatchObject({
      status: 412,
      body: { code: 'precondition-failed' },
    });
    expect((await stored()).max_devices).toBe(5);
    expect((await put({ max_devices: 6 }, { 'if-match': `"x", ${first.headers.etag}` })).status).toBe(200);
    expect((await put({ max_devices: 7 }, { 'if-match': '*' })).status).toBe(200);
    expect((await put({ max_devices: 8 }, { 'if-match': '"*"' })).status).toBe(412);
  });

  it('412 for the ETag of before, when a value was changed and changed back, or the key was revoked', async () => {
    const { etag } = (await get()).headers as { etag: string };
    await put({ max_devices: 5 });
    const { headers } = await put({ max_devices: 100 });
    expect((await put({ description: 'x' }, { 'if-match': etag })).status).toBe(412);
    await call(`DELETE ${path}/${key.id}`, { headers: admin });
    expect((await put({ description: 'x' }, { 'if-match': headers.etag as string })).status).toBe(412);
  });

  it('20 concurrent changes with the same tag: one succeeds, 19 get 412', async () => {
    const { etag } = (await get()).headers as { etag: string };
    const changes = Array.from({ length: 20 }, (_, i) => ({
      target: `PUT ${path}/${key.id}`,
      options: { headers: { ...admin, 'if-match': etag }, body: { description: `press ${i}` } },
    }));
    // So slow that all of them begin before the first ends.
    const answers = await withTrigger(berth, 'before update on provisioning_keys', 'perform pg_sleep(0.2)', () =>
      callConcurrently(changes, 8),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)]);
  });
});

describe('another default broker of a key', () => {
  const moveTo = (id: number | null) => put({ default_broker_id: id });
  const mqtt = async ({ uuid, deviceApiKey }: { uuid: string; deviceApiKey: string }) => {
    const headers = { authorization: `Bearer ${deviceApiKey}` };
    return (await call(`GET /api/v1/device/${uuid}/mqtt`, { headers })).body.assignment.brokerId;
  };
  const add = async () => {
    const device = newDevice();
    expect((await register(key.key, device)).status).toBe(200);
    return device;
  };
  const accepting = async ({ uuid }: { uuid: string }) =>
    (
      await berth.sql('select broker_id, reason from mqtt_device_brokers where uuid = $1 order by broker_id', [uuid])
    ).map(({ broker_id, reason }) => `${broker_id} ${reason}`);
  const standard = async () => (await berth.sql('select id from mqtt_broker_config where is_default'))[0]?.id;

  it('is for new devices; those that are assigned stay where they are', async () => {
    const [a, b] = [await addBroker(berth), await addBroker(berth)];
    expect(await moveTo(a)).toMatchObject({ status: 200, body: { default_broker_id: a, devices_affected: 0 } });
    const old = await add();
    expect(await moveTo(b)).toMatchObject({ status: 200, body: { default_broker_id: b, devices_affected: 0 } });
    expect([await mqtt(old), await mqtt(await add())]).toEqual([a, b]);
  });

  it('moves the devices that follow the key, and counts them; those of other keys stay', async () => {
    const [a, b] = [await addBroker(berth), await addBroker(berth)];
    const devices = [await add(), await add(), await add()] as const;
    const other = newDevice();
    await register((await issueKey()).key, other);
    await berth.sql('update devices set mqtt_broker_id = $1 where uuid = $2', [b, devices[2].uuid]);
    const before = await berth.sql('select uuid, xmin from devices order by id');
    expect((await moveTo(a)).body.devices_affected).toBe(2);
    expect(await Promise.all(devices.map((device) => mqtt(device)))).toEqual([a, a, b]);
    expect(await mqtt(other)).toBe(await standard());
    // Of devices whose row says what they were handed, nothing is written.
    const after = await berth.sql('select uuid, xmin from devices order by id');
    expect(after[3]).toEqual(before[3]);
    expect((await moveTo(a)).body.devices_affected).toBe(0);
    // A device whose own broker is inactive follows the key, too.
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [b]);
    expect((await moveTo(await standard())).body.devices_affected).toBe(3);
    expect((await moveTo(null)).body.devices_affected).toBe(0);
  });

  it('takes no device off MQTT: the broker that it was handed keeps accepting it', async () => {
    const from = await standard();
    const to = await addBroker(berth);
    const device = await add();
    const written = async () => (await berth.sql('select xmin from devices'))[0]?.xmin;
    const before = await written();
    await moveTo(to);
    expect(await written()).toBe(before);
    expect(await accepting(device)).toEqual([`${from} handed`, `${to} resolved`]);
  });

  it('takes no device off MQTT whose row does not say what it was handed', async () => {
    const from = await standard();
    const to = await addBroker(berth);
    const [device, other] = [await add(), newDevice()];
    await register((await issueKey()).key, other);
    await berth.sql('update devices set handed_broker_id = null, handed_settings = null, handed_at = null');
    await moveTo(to);
    expect(await accepting(device)).toEqual([`${from} handed`, `${to} resolved`]);
    const [row] = await berth.sql('select handed_broker_id, handed_left_at from devices where uuid = $1', [other.uuid]);
    expect(row).toEqual({ handed_broker_id: null, handed_left_at: null });
  });

  it.each([
    ['of its broker', 'update mqtt_broker_config set closed_to_former_at = now() where is_default'],
    ['of its own', 'update devices set former_closed_at = now()'],
  ])('takes no device off MQTT by an end of permissions %s that was before', async (_, close) => {
    const from = await standard();
    const [to, third] = [await addBroker(berth), await addBroker(berth)];
    const device = await add();
    await berth.sql(close);
    await moveTo(to);
    expect(await accepting(device)).toEqual([`${from} handed`, `${to} resolved`]);
    // A later end of permissions counts, and another move does not bring back what it ended.
    await berth.sql(close);
    expect(await accepting(device)).toEqual([`${to} resolved`]);
    await moveTo(third);
    expect(await accepting(device)).toEqual([`${third} resolved`]);
  });

  it('a device that is handed what no row says, while its handed broker is unknown for good, stays as it is', async () => {
    setEnv({ MQTT_BROKER_URL: 'mqtt://environment.example.com' });
    const to = await addBroker(berth);
    const device = await add();
    await berth.sql('update devices set handed_broker_id = null, handed_settings = null');
    await moveTo(to);
    expect(await accepting(device)).toEqual([`${to} resolved`]);
    setEnv({});
  });
});
