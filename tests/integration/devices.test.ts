import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';
import { callConcurrently } from '../support/concurrent-calls.ts';

let berth: Berth;
let standard: number;
let second: number;
let key: { id: string; key: string };
let device: ReturnType<typeof newDevice>;

beforeAll(async () => {
  berth = await startBerth();
  standard = await addBroker(berth, { name: 'standard', host: 'one.example.com', is_default: true });
  second = await addBroker(berth, { name: 'second', host: 'two.example.com' });
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({});
  await berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events');
  await berth.sql('update mqtt_broker_config set is_active = true, accepts_new_devices = true');
  key = await issueKey();
  device = newDevice();
  await register(key.key, device);
});

const path = '/api/v1/devices';
const put = (body: unknown, headers: Record<string, string> = {}, uuid = device.uuid) =>
  call(`PUT ${path}/${uuid}`, { headers: { ...admin, ...headers }, body });
const get = (uuid = device.uuid) => call(`GET ${path}/${uuid}`, { headers: admin });
const mqtt = () =>
  call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: { authorization: `Bearer ${device.deviceApiKey}` } });
const eventsOf = (uuid = device.uuid) =>
  berth.sql(
    'select type, actor, reason, from_broker_id, to_broker_id from device_events where device_uuid = $1 order by id',
    [uuid],
  );

/** Users, ACLs and used places that belong to others than `device`. */
const ofOthers = async () => ({
  users: await berth.sql(`select * from mqtt_users where username <> 'device_' || $1 order by id`, [device.uuid]),
  acls: await berth.sql(`select * from mqtt_acls where username <> 'device_' || $1 order by id`, [device.uuid]),
  keys: await berth.sql('select * from provisioning_keys where id <> $1', [key.id]),
});
/** Another device, registered with another key. */
async function addOther(): Promise<void> {
  const other = await issueKey();
  expect((await register(other.key, newDevice())).status).toBe(200);
}

describe('the columns that only the legacy service writes', () => {
  const OWN = [
    ...[
      'id',
      'uuid',
      'device_name',
      'device_type',
      'fleet_id',
      'is_active',
      'mqtt_broker_id',
      'mqtt_broker_assigned_at',
    ],
    ...['mqtt_username', 'mqtt_client_id', 'provisioned_at', 'provisioned_by_key_id', 'created_at', 'modified_at'],
    ...['mac_address', 'os_version', 'supervisor_version', 'is_online'],
  ];
  const replies = async () => {
    const listed = await call(`GET ${path}`, { headers: admin });
    return [(await get()).body.device, listed.body.devices[0], (await put({ device_name: 'Pump 9' })).body.device];
  };

  it('are left out of a device of which it has written none', async () => {
    for (const reply of await replies()) expect(Object.keys(reply)).toEqual(OWN);
  });

  it.each([
    ['is_online', 'true', true],
    ['status', `'updating'`, 'updating'],
    ['memory_usage', '5000000000', '5000000000'],
    ['is_undervolted', 'true', true],
    ['api_key_rotation_days', '30', 30],
    ['last_connectivity_event', `'2026-01-02 03:04:05'`, '2026-01-02T03:04:05.000Z'],
    ['top_processes', `'[{"pid": 1}]'`, [{ pid: 1 }]],
  ])('are all there as before once it has written one: %s', async (name, value, shown) => {
    await berth.sql(`update devices set ${name} = ${value}`);
    for (const reply of await replies()) {
      expect(reply).toMatchObject({ [name]: shown, cpu_id: null });
      expect(Object.keys(reply)).toHaveLength(OWN.length + 22);
    }
  });
});

describe('PUT /devices/{uuid}', () => {
  it('200 with the device and its resolved broker: a broker is assigned', async () => {
    const reply = await put({ mqtt_broker_id: second, reason: 'nearer' });
    expect(reply).toMatchObject({
      status: 200,
      body: {
        device: { uuid: device.uuid, mqtt_broker_id: second, mqtt_broker_assigned_at: expect.stringMatching(/Z$/) },
        resolved_broker: { source: 'device', id: second, name: 'second', url: 'mqtt://two.example.com:1883' },
      },
    });
    expect((await mqtt()).body.broker).toBe('mqtt://two.example.com:1883');
    expect((await eventsOf()).at(-1)).toEqual({
      type: 'moved',
      actor: 'admin',
      reason: 'nearer',
      from_broker_id: null,
      to_broker_id: second,
    });
  });

  it('200: mqtt_broker_id null returns the device to the default broker', async () => {
    await put({ mqtt_broker_id: second });
    expect(await put({ mqtt_broker_id: null })).toMatchObject({
      status: 200,
      body: { device: { mqtt_broker_id: null }, resolved_broker: { source: 'default', id: standard } },
    });
    expect((await eventsOf()).at(-1)).toMatchObject({ type: 'moved', from_broker_id: second, to_broker_id: null });
  });

  it('200 without an event: the same broker again', async () => {
    const first = await put({ mqtt_broker_id: second });
    const before = await eventsOf();
    const again = await put({ mqtt_broker_id: second });
    expect(again.status).toBe(200);
    expect(await eventsOf()).toEqual(before);
    expect(again.body.device.mqtt_broker_assigned_at).toBe(first.body.device.mqtt_broker_assigned_at);
  });

  it('200: name and type change, everything else stays', async () => {
    const { body } = await put({ device_name: 'Pump 8', device_type: 'plc' });
    expect(body.device).toMatchObject({
      device_name: 'Pump 8',
      device_type: 'plc',
      mqtt_broker_id: null,
      is_active: true,
    });
    expect((await eventsOf()).map(({ type }) => type)).toEqual(['registered', 'updated']);
  });

  it.each([
    ['name', { device_name: 'Pump 8' }],
    ['type', { device_type: 'plc' }],
  ])('a changed %s alone is an event; the same value again is none', async (_, change) => {
    await put(change);
    await put(change);
    expect((await eventsOf()).map(({ type }) => type)).toEqual(['registered', 'updated']);
  });

  it('200: the fleet changes, with an event; everything else stays', async () => {
    await addOther();
    const { device: before } = (await get()).body;
    const { body, headers } = await put({ fleet_id: 'fleet-b', reason: 'sold' });
    const modified_at = body.device.modified_at;
    expect(body.device).toEqual({ ...before, fleet_id: 'fleet-b', modified_at });
    expect(Date.parse(modified_at)).toBeGreaterThan(Date.parse(before.modified_at));
    expect(headers.etag).toBe((await get()).headers.etag);
    const { events } = (await call(`GET ${path}/${device.uuid}/events`, { headers: admin })).body;
    expect(events).toMatchObject([
      { type: 'fleet-changed', fleet_id: 'fleet-b', actor: 'admin', reason: 'sold', from_broker_id: null },
      { type: 'registered', fleet_id: 'fleet-a' },
    ]);
    // The same fleet again is no change.
    expect((await put({ fleet_id: 'fleet-b' })).headers.etag).toBe(headers.etag);
    expect(await eventsOf()).toHaveLength(2);
    const fleets = await berth.sql('select fleet_id from devices order by id');
    expect(fleets).toEqual([{ fleet_id: 'fleet-b' }, { fleet_id: 'fleet-a' }]);
  });

  it('in another fleet, a device registers again with its own key and with keys of that fleet, not with others', async () => {
    const [sameFleet, newFleet] = [await issueKey(), await issueKey({ fleetId: 'fleet-b' })];
    await put({ fleet_id: 'fleet-b' });
    expect(await register(key.key, device)).toMatchObject({ status: 200, body: { fleetId: 'fleet-b' } });
    expect(await register(newFleet.key, device)).toMatchObject({ status: 200, body: { fleetId: 'fleet-b' } });
    expect(await register(sameFleet.key, device)).toMatchObject({
      status: 409,
      body: { code: 'device-in-other-fleet' },
    });
  });

  it('is_active false deactivates its MQTT user in the same statement, true activates it', async () => {
    const active = async () => (await berth.sql('select is_active from mqtt_users'))[0]?.is_active;
    await put({ is_active: false });
    expect(await active()).toBe(false);
    expect((await mqtt()).status).toBe(403);
    await put({ is_active: true });
    expect(await active()).toBe(true);
    expect((await mqtt()).status).toBe(200);
    expect((await eventsOf()).map(({ type }) => type)).toEqual(['registered', 'deactivated', 'refused', 'activated']);
  });

  it('only a request with is_active changes is_active of the MQTT user', async () => {
    const active = async () => (await berth.sql('select is_active from mqtt_users'))[0]?.is_active;
    await berth.sql('update mqtt_users set is_active = false');
    for (const body of [{ device_name: 'Pump 8' }, { device_type: 'plc' }, { mqtt_broker_id: second }]) {
      expect((await put(body)).status).toBe(200);
      expect(await active(), JSON.stringify(body)).toBe(false);
    }
    expect((await put({ is_active: true })).status).toBe(200);
    expect(await active()).toBe(true);
  });

  it('is_active false ends the MQTT user of a device without mqtt_username', async () => {
    await berth.sql('update devices set mqtt_username = null');
    await put({ is_active: false });
    expect(await berth.sql('select is_active from mqtt_users')).toEqual([{ is_active: false }]);
  });

  it('deactivating a device leaves the MQTT users of others as they are', async () => {
    await addOther();
    const others = await ofOthers();
    expect(others.users).toHaveLength(1);
    await put({ is_active: false });
    expect(await ofOthers()).toEqual(others);
  });

  it('200: the broker that the device has already, when it is draining or inactive by now', async () => {
    await put({ mqtt_broker_id: second });
    await berth.sql('update mqtt_broker_config set accepts_new_devices = false where id = $1', [second]);
    expect((await put({ mqtt_broker_id: second, device_name: 'Pump 8' })).status).toBe(200);
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [second]);
    expect((await put({ mqtt_broker_id: second, device_name: 'Pump 9' })).status).toBe(200);
  });

  it('200 for curl -d, which sends a form content type', async () => {
    const reply = await call(`PUT ${path}/${device.uuid}`, {
      headers: { ...admin, 'content-type': 'application/x-www-form-urlencoded' },
      body: JSON.stringify({ mqtt_broker_id: second }),
      base64: true,
    });
    expect(reply).toMatchObject({ status: 200, body: { device: { mqtt_broker_id: second } } });
  });

  it.each([
    ['nothing', {}, 400, 'nothing-to-update'],
    ['no body', undefined, 400, 'nothing-to-update'],
    ['only a reason', { reason: 'x' }, 400, 'nothing-to-update'],
    ['a typo', { mqtt_broker: 1 }, 400, 'invalid-request'],
    ['broker 0', { mqtt_broker_id: 0 }, 400, 'invalid-request'],
    ['broker -1', { mqtt_broker_id: -1 }, 400, 'invalid-request'],
    ['broker 2^31', { mqtt_broker_id: 2 ** 31 }, 400, 'invalid-request'],
    ['broker 1.5', { mqtt_broker_id: 1.5 }, 400, 'invalid-request'],
    ['broker "1"', { mqtt_broker_id: '1' }, 400, 'invalid-request'],
    ['an unknown broker', { mqtt_broker_id: 2_147_483_647 }, 422, 'broker-not-found'],
    ['is_active "true"', { is_active: 'true' }, 400, 'invalid-request'],
    ['is_active null', { is_active: null }, 400, 'missing-fields'],
    ['an empty name', { device_name: '' }, 400, 'missing-fields'],
    ['a name with NUL', { device_name: '\0' }, 400, 'invalid-request'],
    ['an over-long type', { device_type: 'x'.repeat(101) }, 400, 'invalid-request'],
    ['an empty fleet', { fleet_id: '' }, 400, 'missing-fields'],
    ['a fleet null', { fleet_id: null }, 400, 'missing-fields'],
    ['an over-long fleet', { fleet_id: 'x'.repeat(101) }, 400, 'invalid-request'],
    ['a fleet with NUL', { fleet_id: 'a\0' }, 400, 'invalid-request'],
    ['malformed JSON', '{', 400, 'malformed-json'],
  ])('%s is refused and changes nothing', async (_, body, status, code) => {
    const before = await berth.sql('select * from devices');
    expect(await put(body)).toMatchObject({ status, body: { code } });
    expect(await berth.sql('select * from devices')).toEqual(before);
    expect((await eventsOf()).map(({ type }) => type)).toEqual(['registered']);
  });

  it('400 names an unknown field', async () => {
    expect((await put({ mqtt_broker: 1 })).body.errors).toEqual([
      { path: 'mqtt_broker', message: 'is not a known field' },
    ]);
  });

  it('422 broker-inactive, broker-draining', async () => {
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [second]);
    expect(await put({ mqtt_broker_id: second })).toMatchObject({ status: 422, body: { code: 'broker-inactive' } });
    await berth.sql('update mqtt_broker_config set is_active = true, accepts_new_devices = false where id = $1', [
      second,
    ]);
    expect(await put({ mqtt_broker_id: second })).toMatchObject({ status: 422, body: { code: 'broker-draining' } });
  });

  it('404 device-not-found: unknown device', async () => {
    expect(await put({ mqtt_broker_id: second }, {}, 'nobody')).toMatchObject({
      status: 404,
      body: { code: 'device-not-found', error: 'Device not found' },
    });
  });
});

describe('PATCH /devices/{uuid}/active', () => {
  const patch = (body: unknown, headers: Record<string, string> = {}, uuid = device.uuid) =>
    call(`PATCH ${path}/${uuid}/active`, { headers: { ...admin, ...headers }, body });
  it('200 with the legacy service’s reply', async () => {
    await berth.sql('update devices set is_online = true');
    const reply = { uuid: device.uuid, device_name: device.deviceName, is_online: true };
    expect(await patch({ is_active: false })).toMatchObject({
      status: 200,
      body: { status: 'ok', message: 'Device disabled', device: { ...reply, is_active: false } },
    });
    expect((await patch({ is_active: true })).body).toEqual({
      status: 'ok',
      message: 'Device enabled',
      device: { ...reply, is_active: true },
    });
  });

  it.each([false, true])('is_active %s does what PUT does: device, MQTT user, event', async (is_active) => {
    const body = { is_active, reason: 'stolen' };
    const outcomeOf = async (request: () => Promise<{ status: number }>) => {
      for (const table of ['devices', 'mqtt_users'])
        await berth.sql(`update ${table} set is_active = $1`, [!is_active]);
      await berth.sql('truncate device_events');
      expect((await request()).status).toBe(200);
      return {
        device: await berth.sql('select is_active from devices'),
        mqttUser: await berth.sql('select is_active from mqtt_users'),
        events: await eventsOf(),
      };
    };
    const byPut = await outcomeOf(() => put(body));
    expect(await outcomeOf(() => patch(body))).toEqual(byPut);
    expect(byPut).toMatchObject({ device: [{ is_active }], mqttUser: [{ is_active }], events: [{ reason: 'stolen' }] });
  });

  it('200 for unknown fields, which the legacy service ignored', async () => {
    expect(await patch({ is_active: false, device_name: 'Pump 8' })).toMatchObject({
      status: 200,
      body: { device: { device_name: device.deviceName } },
    });
  });

  it('412 unless If-Match is the tag of the current row, which the reply has', async () => {
    const { etag } = (await get()).headers as { etag: string };
    const first = await patch({ is_active: false }, { 'if-match': etag });
    expect(first.status).toBe(200);
    expect(first.headers.etag).toBe((await get()).headers.etag);
    expect(await patch({ is_active: true }, { 'if-match': etag })).toMatchObject({
      status: 412,
      body: { code: 'precondition-failed' },
    });
  });

  it.each([
    ['a string', { is_active: 'false' }],
    ['a number', { is_active: 0 }],
    ['null', { is_active: null }],
    ['missing', {}],
    ['no body', undefined],
  ])('400 Invalid request, and nothing changes: is_active is %s', async (_, body) => {
    const before = await berth.sql('select * from devices');
    expect(await patch(body)).toMatchObject({
      status: 400,
      body: { code: 'invalid-request', error: 'Invalid request', errors: [{ path: 'is_active' }] },
    });
    expect(await berth.sql('select * from devices')).toEqual(before);
  });

  it('404 for an unknown device, 401 and 403 without a credential that may write', async () => {
    expect(await patch({ is_active: false }, {}, 'nobody')).toMatchObject({
      status: 404,
      body: { error: 'Device not found' },
    });
    expect(await patch({ is_active: false }, { authorization: '' })).toMatchObject({ status: 401 });
    expect((await get()).body.device.is_active).toBe(true);
  });
});

describe('If-Match', () => {
  it('412 unless the tag is that of the current row', async () => {
    const { etag } = (await get()).headers as { etag: string };
    const first = await put({ mqtt_broker_id: second }, { 'if-match': etag });
    expect(first.status).toBe(200);
    expect(first.headers.etag).not.toBe(etag);
    expect(await put({ mqtt_broker_id: standard }, { 'if-match': etag })).toMatchObject({
      status: 412,
      body: { code: 'precondition-failed' },
    });
    expect((await get()).body.device.mqtt_broker_id).toBe(second);
    expect((await put({ mqtt_broker_id: standard }, { 'if-match': `"other", ${first.headers.etag}` })).status).toBe(
      200,
    );
    expect((await put({ mqtt_broker_id: null }, { 'if-match': '*' })).status).toBe(200);
    expect((await put({ mqtt_broker_id: second }, { 'if-match': 'W/"x"' })).status).toBe(412);
  });

  it('412 for the ETag of before, when a value was changed and changed back', async () => {
    const { etag } = (await get()).headers as { etag: string };
    await put({ device_name: 'Pump 8' });
    await put({ device_name: 'Pump 7' });
    expect((await put({ device_type: 'plc' }, { 'if-match': etag })).status).toBe(412);
  });

  it.each(['"*"', '"other", "*"', '"other", *'])('412: %s is no wildcard', async (ifMatch) => {
    expect(await put({ mqtt_broker_id: second }, { 'if-match': ifMatch })).toMatchObject({
      status: 412,
      body: { code: 'precondition-failed' },
    });
    expect((await get()).body.device.mqtt_broker_id).toBeNull();
  });

  it('20 concurrent changes with the same tag: one succeeds, 19 get 412', async () => {
    const { etag } = (await get()).headers as { etag: string };
    const answers = await callConcurrently(
      Array.from({ length: 20 }, (_, i) => ({
        target: `PUT ${path}/${device.uuid}`,
        options: { headers: { ...admin, 'if-match': etag }, body: { device_name: `name ${i}` } },
      })),
      8,
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(412)]);
  });
});

describe('GET /devices/{uuid}', () => {
  it('200 with the legacy columns, without hash and salt', async () => {
    await berth.sql('update devices set memory_total = 1');
    const { status, body, text } = await get();
    expect(status).toBe(200);
    expect(body.device).toMatchObject({
      uuid: device.uuid,
      device_name: 'Pump 7',
      fleet_id: 'fleet-a',
      provisioned_by_key_id: key.id,
      status: 'idle',
      created_at: expect.stringMatching(/Z$/),
    });
    expect(text).not.toMatch(/hash|salt/);
  });

  it('explains every step of the resolution: taken, skipped with the reason, not reached', async () => {
    const steps = async () => {
      const { explain, if_default_changes } = (await get()).body;
      return [
        ...explain.map(({ source, outcome }: Record<string, string>) => `${source}: ${outcome}`),
        if_default_changes.moves,
      ];
    };
    expect(await steps()).toEqual([
      'device: skipped',
      'provisioning_key: skipped',
      'default: taken',
      'environment: not reached',
      true,
    ]);
    await put({ mqtt_broker_id: second });
    expect(await steps()).toEqual([
      'device: taken',
      'provisioning_key: not reached',
      'default: not reached',
      'environment: not reached',
      false,
    ]);
    await berth.sql('update mqtt_broker_config set is_active = false');
    expect(await steps()).toEqual([
      'device: skipped',
      'provisioning_key: skipped',
      'default: skipped',
      'environment: skipped',
      true,
    ]);
    expect((await get()).body.resolved_broker).toBeNull();
    expect((await get()).body.explain[0].why).toBe(`broker ${second} (second) is not active`);
    setEnv({ MQTT_BROKER_URL: 'mqtt://env.example.com:1883' });
    expect((await steps())[3]).toBe('environment: taken');
    expect((await get()).body.resolved_broker).toEqual({
      source: 'environment',
      id: null,
      name: null,
      url: 'mqtt://env.example.com:1883',
    });
  });

  it.each([
    ['nobody', 404, 'device-not-found'],
    ['%23', 400, 'invalid-request'],
  ])('%s is %i', async (uuid, status, code) => {
    expect(await get(uuid)).toMatchObject({ status, body: { code } });
  });
});

describe('GET /devices', () => {
  const list = (query?: Record<string, string>) => call(`GET ${path}`, { headers: admin, ...(query ? { query } : {}) });
  const many = async () => {
    for (let i = 0; i < 6; i++)
      await register(key.key, newDevice({ uuid: `d-${i}`, deviceType: i % 2 ? 'odd' : 'even' }));
    await call(`PUT ${path}/d-1`, { headers: admin, body: { mqtt_broker_id: second, is_active: false } });
  };
  const uuids = ({ body }: { body: { devices: { uuid: string }[] } }) => body.devices.map(({ uuid }) => uuid);

  it('the pages together contain every device once', async () => {
    await many();
    const seen: string[] = [];
    let query: Record<string, string> | undefined = { limit: '3' };
    while (query) {
      const page = await list(query);
      expect(page.body.count).toBe(page.body.devices.length);
      seen.push(...uuids(page));
      query = page.body.next && Object.fromEntries(new URL(page.body.next, 'http://x').searchParams);
    }
    expect(seen).toEqual([device.uuid, 'd-0', 'd-1', 'd-2', 'd-3', 'd-4', 'd-5']);
    expect((await list()).text).not.toMatch(/hash|salt/);
  });

  it('filters, and repeats the filter in the link to the next page', async () => {
    await many();
    expect(uuids(await list({ device_type: 'odd' }))).toEqual(['d-1', 'd-3', 'd-5']);
    await berth.sql(
      `update devices set is_online = case uuid when 'd-2' then true when 'd-3' then null else false end`,
    );
    expect(uuids(await list({ online: 'true' }))).toEqual(['d-2']);
    expect(uuids(await list({ online: 'false', device_type: 'odd' }))).toEqual(['d-1', 'd-3', 'd-5']);
    expect(uuids(await list({ broker_id: String(second) }))).toEqual(['d-1']);
    expect(uuids(await list({ unassigned: 'false' }))).toEqual(['d-1']);
    expect(uuids(await list({ unassigned: 'true' }))).toHaveLength(6);
    expect(uuids(await list({ is_active: 'false' }))).toEqual(['d-1']);
    expect(uuids(await list({ fleet_id: 'fleet-b' }))).toEqual([]);
    expect((await list({ device_type: 'odd', limit: '1' })).body.next).toMatch(/device_type=odd/);
  });

  it('is_active NULL, as in legacy rows, counts as active', async () => {
    await berth.sql('update devices set is_active = null');
    expect(uuids(await list({ is_active: 'true' }))).toEqual([device.uuid]);
    expect(uuids(await list({ is_active: 'false' }))).toEqual([]);
  });

  it.each([
    ['limit', { limit: '0' }],
    ['limit', { limit: '501' }],
    ['limit', { limit: 'many' }],
    ['after', { after: '-1' }],
    ['broker_id', { broker_id: '2147483648' }],
    ['is_active', { is_active: 'yes' }],
    ['fleet', { fleet: 'a' }],
    ['unassigned', { unassigned: 'true', broker_id: '1' }],
  ])('%s is refused by name (%j)', async (field, query) => {
    expect(await list(query as Record<string, string>)).toMatchObject({
      status: 400,
      body: { errors: [{ path: field }] },
    });
  });
});

describe('DELETE /devices/{uuid}', () => {
  it('200: device, MQTT user and ACLs are deleted, its place on the key is free', async () => {
    const remove = () => call(`DELETE ${path}/${device.uuid}`, { headers: admin });
    expect(await remove()).toMatchObject({ status: 200, body: { status: 'ok', uuid: device.uuid } });
    for (const table of ['devices', 'mqtt_users', 'mqtt_acls'])
      expect(await berth.sql(`select from ${table}`)).toEqual([]);
    expect((await berth.sql('select devices_provisioned from provisioning_keys'))[0]?.devices_provisioned).toBe(0);
    expect((await eventsOf()).map(({ type }) => type)).toEqual(['registered', 'deleted']);
    expect(await remove()).toMatchObject({ status: 404 });
    expect((await mqtt()).status).toBe(404);
  });

  it('leaves the MQTT users, the ACLs and the key of other devices as they are', async () => {
    await addOther();
    const others = await ofOthers();
    expect([others.users.length, others.acls.length, others.keys.length]).toEqual([1, 1, 1]);
    await call(`DELETE ${path}/${device.uuid}`, { headers: admin });
    expect(await ofOthers()).toEqual(others);
  });

  it('never makes the number of used places negative', async () => {
    await berth.sql('update provisioning_keys set devices_provisioned = 0');
    await call(`DELETE ${path}/${device.uuid}`, { headers: admin });
    expect(await berth.sql('select devices_provisioned from provisioning_keys')).toEqual([{ devices_provisioned: 0 }]);
  });

  it('removes the MQTT user and ACLs of a legacy device, whose row does not name its user', async () => {
    await berth.sql('update devices set mqtt_username = null');
    expect((await call(`DELETE ${path}/${device.uuid}`, { headers: admin })).status).toBe(200);
    for (const table of ['mqtt_users', 'mqtt_acls']) expect(await berth.sql(`select from ${table}`)).toEqual([]);
  });

  it('a deleted device registers again and gets a password that works', async () => {
    await call(`DELETE ${path}/${device.uuid}`, { headers: admin });
    const { status, body } = await register(key.key, device);
    expect(status).toBe(200);
    const [user] = await berth.sql('select password_hash from mqtt_users');
    expect(await verifyMqttPassword(body.mqtt.password, user?.password_hash)).toBe(true);
  });

  it('concurrent deletions and registrations leave complete devices only, and the right count on the key', async () => {
    const calls = Array.from({ length: 60 }, (_, i) =>
      i % 2
        ? { target: `DELETE ${path}/${device.uuid}`, options: { headers: admin } }
        : {
            target: 'POST /api/v1/device/register',
            options: { headers: { authorization: `Bearer ${key.key}` }, body: device },
          },
    );
    const answers = await callConcurrently(calls, 8);
    for (const { status } of answers) expect([200, 404]).toContain(status);
    const [row] = await berth.sql(`
      select (select count(*)::int from devices) as devices, (select count(*)::int from mqtt_users) as users,
             (select count(*)::int from mqtt_acls) as acls, (select devices_provisioned from provisioning_keys) as used`);
    expect(row?.users).toBe(row?.devices);
    expect(row?.acls).toBe(row?.devices);
    expect(row?.used).toBe(row?.devices);
  });
});

describe('POST /devices/{uuid}/rotate-credentials', () => {
  it('leaves the MQTT users of other devices as they are', async () => {
    await addOther();
    const others = await ofOthers();
    await call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin });
    expect(await ofOthers()).toEqual(others);
  });

  it('the renewal replaces all ACLs of the device by its own topic, and keeps its MQTT user', async () => {
    const username = `device_${device.uuid}`;
    await berth.sql(`insert into mqtt_acls (username, topic, access) values ($1, '#', 7)`, [username]);
    await call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin });
    const users = () => berth.sql('select id, username from mqtt_users');
    const before = await users();
    expect((await mqtt()).status).toBe(200);
    expect(await users()).toEqual(before);
    expect(await berth.sql('select topic from mqtt_acls where username = $1', [username])).toEqual([
      { topic: `iot/device/${device.uuid}/#` },
    ]);
  });

  it('200: the password stops working immediately, the device gets the next one from /mqtt or registering', async () => {
    const before = (await mqtt()).body.password;
    expect(await call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin })).toMatchObject({
      status: 200,
    });
    const hash = async () =>
      (await berth.sql('select password_hash from mqtt_users where is_active'))[0]?.password_hash;
    expect(await verifyMqttPassword(before, await hash())).toBe(false);
    const after = await mqtt();
    expect(after.body.password).not.toBe(before);
    expect(await verifyMqttPassword(after.body.password, await hash())).toBe(true);
    expect((await mqtt()).text).toBe(after.text);
    expect((await register(key.key, device)).body.mqtt.password).toBe(after.body.password);
    expect((await eventsOf()).map(({ type }) => type)).toEqual([
      'registered',
      'credentials-revoked',
      'credentials-renewed',
    ]);
  });

  const isValid = async (password: string) => {
    const [user] = await berth.sql('select password_hash from mqtt_users where is_active');
    return user !== undefined && verifyMqttPassword(password, user.password_hash);
  };

  it('ends the password of a device without mqtt_username', async () => {
    const { password } = (await mqtt()).body;
    await berth.sql('update devices set mqtt_username = null');
    expect(await isValid(password)).toBe(true);
    await call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin });
    expect(await isValid(password)).toBe(false);
    expect(await isValid((await mqtt()).body.password)).toBe(true);
  });

  it('the next password does not activate an MQTT user that was disabled', async () => {
    await call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin });
    await berth.sql('update mqtt_users set is_active = false');
    expect((await mqtt()).status).toBe(200);
    expect(await berth.sql('select is_active from mqtt_users')).toEqual([{ is_active: false }]);
  });

  it('nor does a new username', async () => {
    const spelled = `device_${device.uuid.toUpperCase()}`;
    await berth.sql('update devices set mqtt_password_salt = null, mqtt_username = $1', [spelled]);
    await berth.sql('update mqtt_users set is_active = false, username = $1', [spelled]);
    expect((await register(key.key, device)).body.mqtt.username).toBe(`device_${device.uuid}`);
    expect(await berth.sql('select username, is_active from mqtt_users')).toEqual([
      { username: `device_${device.uuid}`, is_active: false },
    ]);
  });

  it.each(['GET mqtt', 'a replay'])('403: the device is deactivated while %s renews its password', async (request) => {
    await call(`POST ${path}/${device.uuid}/rotate-credentials`, { headers: admin });
    const renew = () => (request === 'GET mqtt' ? mqtt() : register(key.key, device));
    // The renewal waits for this row, which the deactivation holds.
    const deactivation = berth.sql(`
      with device as (update devices set is_active = false returning pg_sleep(0.7)),
      mqtt_user as (update mqtt_users set is_active = false)
      select from device`);
    await sleep(200);
    expect(await renew()).toMatchObject({ status: 403, body: { code: 'device-inactive' } });
    await deactivation;
    expect(await berth.sql('select is_active from mqtt_users')).toEqual([{ is_active: false }]);
    expect((await eventsOf()).map(({ type }) => type)).not.toContain('credentials-renewed');
  });

  it('404 device-not-found: unknown device', async () => {
    expect(await call(`POST ${path}/nobody/rotate-credentials`, { headers: admin })).toMatchObject({ status: 404 });
  });
});

describe('GET /devices/{uuid}/events', () => {
  const events = (uuid: string, query?: Record<string, string>) =>
    call(`GET ${path}/${uuid}/events`, { headers: admin, ...(query ? { query } : {}) });

  it('200 newest first, in pages, also for a deleted device', async () => {
    await put({ mqtt_broker_id: second });
    await call(`DELETE ${path}/${device.uuid}`, { headers: admin });
    const all = await events(device.uuid);
    expect(all.body.events.map(({ type }: { type: string }) => type)).toEqual(['deleted', 'moved', 'registered']);
    const first = await events(device.uuid, { limit: '2' });
    const next = Object.fromEntries(new URL(first.body.next, 'http://x').searchParams);
    const rest = await events(device.uuid, next);
    expect([...first.body.events, ...rest.body.events]).toEqual(all.body.events);
    expect(rest.body).not.toHaveProperty('next');
  });

  it('404 device-not-found: neither a device nor an event', async () => {
    expect(await events('nobody')).toMatchObject({ status: 404, body: { code: 'device-not-found' } });
  });
});
