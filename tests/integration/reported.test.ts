import { beforeEach, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, newDevice, register, useBerth } from '../support/berth.ts';
import { addDevices, assign } from '../support/bulk.ts';
import { callConcurrently } from '../support/concurrent-calls.ts';

/** What a device says of itself when it registers again, and the filters by it. */
const berth = useBerth();
let key: string;
beforeEach(async () => {
  await berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events, bulk_assign_jobs');
  key = (await issueKey()).key;
});

const ALL = {
  deviceName: 'Pump 7',
  deviceType: 'plc',
  macAddress: 'aa:bb:cc:dd:ee:01',
  osVersion: 'Linux 6.1',
  supervisorVersion: '1.2.3',
  region: 'eu',
  tags: { site: 'berlin', line: '3' },
};
const stored = async (uuid: string) =>
  (await berth.sql('select *, xmin from devices where uuid = $1', [uuid]))[0] as Record<string, unknown>;
const eventsOf = async (uuid: string) =>
  berth.sql('select type, actor, reason from device_events where device_uuid = $1 order by id', [uuid]);
const versions = () =>
  berth.sql(`select 'device' as t, id, xmin from devices union all select 'user', id, xmin from mqtt_users
             union all select 'acl', id, xmin from mqtt_acls order by 1, 2`);

async function registered(fields: Record<string, unknown> = ALL) {
  const device = newDevice(fields);
  expect((await register(key, device)).status).toBe(200);
  return device;
}

describe('registering again', () => {
  it('what a device says of itself is stored, and shown to operators', async () => {
    const device = await registered();
    const columns = {
      device_name: 'Pump 7',
      device_type: 'plc',
      mac_address: 'aa:bb:cc:dd:ee:01',
      os_version: 'Linux 6.1',
      supervisor_version: '1.2.3',
      region: 'eu',
      tags: { site: 'berlin', line: '3' },
    };
    expect(await stored(device.uuid)).toMatchObject(columns);
    const { body } = await call(`GET /api/v1/devices/${device.uuid}`, { headers: admin });
    expect(body.device).toMatchObject(columns);
  });

  it.each([
    ['with everything', ALL, {}],
    ['without optional fields', {}, {}],
    ['with optional fields left out', ALL, { macAddress: undefined, osVersion: null, region: '', tags: undefined }],
    ['with tags null', ALL, { tags: null }],
    ['with tags in another order', ALL, { tags: { line: '3', site: 'berlin' } }],
    ['with no tags, twice', { tags: {} }, { tags: {} }],
  ])('identical, %s, writes nothing', async (_, first, again) => {
    const device = await registered(first);
    const [before, events] = [await versions(), await eventsOf(device.uuid)];
    const reply = await register(key, { ...device, ...again });
    expect(reply).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } });
    expect(await versions()).toEqual(before);
    expect(await eventsOf(device.uuid)).toEqual(events);
  });

  it.each([
    ['deviceName', 'device_name', 'Pump 8'],
    ['deviceType', 'device_type', 'sensor'],
    ['macAddress', 'mac_address', 'aa:bb:cc:dd:ee:02'],
    ['osVersion', 'os_version', 'Linux 6.2'],
    ['supervisorVersion', 'supervisor_version', '1.2.4'],
    ['region', 'region', 'us'],
    ['tags', 'tags', { site: 'bonn' }],
    ['tags', 'tags', { site: 'berlin', hall: '3' }],
    ['tags', 'tags', { site: 'berlin', line: '4' }],
    ['tags', 'tags', { site: 'berlin', line: '3', hall: '1' }],
  ])('another %s updates %s, with an event, and nothing else', async (field, column, value) => {
    const device = await registered();
    const other = await registered();
    const [before, others] = [await stored(device.uuid), await stored(other.uuid)];
    const reply = await register(key, { ...device, [field]: value });
    expect(reply).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } });
    const { modified_at, xmin, ...after } = await stored(device.uuid);
    expect(after).toEqual({ ...before, [column]: value, modified_at: undefined, xmin: undefined });
    expect(Number(modified_at)).toBeGreaterThan(Number(before.modified_at));
    expect(await stored(other.uuid)).toEqual(others);
    expect((await eventsOf(device.uuid)).slice(1)).toEqual([
      { type: 'updated', actor: `device:${device.uuid}`, reason: `reported: ${column}` },
    ]);
    // The next repetition is identical.
    expect((await register(key, { ...device, [field]: value })).status).toBe(200);
    expect((await stored(device.uuid)).xmin).toBe(xmin);
  });

  it('the reply has the new name and type, and the same credentials', async () => {
    const device = newDevice();
    const first = await register(key, device);
    const again = await register(key, { ...device, deviceName: 'Pump 8', deviceType: 'plc' });
    expect(again.body).toEqual({ ...first.body, deviceName: 'Pump 8', deviceType: 'plc' });
  });

  it('fields that were not known are added; no tags remove those that were there', async () => {
    const device = await registered({});
    await register(key, { ...device, osVersion: 'Linux 6.1', region: 'eu', tags: { site: 'berlin' } });
    expect(await stored(device.uuid)).toMatchObject({
      os_version: 'Linux 6.1',
      region: 'eu',
      tags: { site: 'berlin' },
    });
    await register(key, { ...device, tags: {} });
    expect(await stored(device.uuid)).toMatchObject({ os_version: 'Linux 6.1', region: 'eu', tags: null });
    expect((await eventsOf(device.uuid)).map(({ reason }) => reason)).toEqual([
      'default',
      'reported: os_version, region, tags',
      'reported: tags',
    ]);
  });

  it('without the device’s own key, or of an inactive device, changes nothing', async () => {
    const device = await registered();
    const before = await stored(device.uuid);
    const changed = { ...device, osVersion: 'Linux 6.2' };
    expect((await register(key, { ...changed, deviceApiKey: 'another-key' })).status).toBe(409);
    expect(await stored(device.uuid)).toEqual(before);
    await berth.sql('update devices set is_active = false');
    expect((await register(key, changed)).status).toBe(403);
    expect((await stored(device.uuid)).os_version).toBe('Linux 6.1');
  });

  it('20 concurrent requests with the same change: one event', async () => {
    const device = await registered();
    const body = { ...device, osVersion: 'Linux 6.2' };
    const calls = Array.from({ length: 20 }, () => ({
      target: 'POST /api/v1/device/register',
      options: { headers: { authorization: `Bearer ${key}` }, body },
    }));
    const answers = await callConcurrently(calls, 8);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await eventsOf(device.uuid)).toHaveLength(2);
  });

  it.each([
    ['region a number', { region: 1 }, 'region'],
    ['region over-long', { region: 'x'.repeat(101) }, 'region'],
    ['region with NUL', { region: '\0' }, 'region'],
    ['tags a list', { tags: ['a'] }, 'tags'],
    ['tags a text', { tags: 'a:b' }, 'tags'],
    ['17 tags', { tags: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`t${n}`, 'x'])) }, 'tags'],
    ['a tag with a number', { tags: { line: 3 } }, 'tags.line'],
    ['a tag with null', { tags: { line: null } }, 'tags.line'],
    ['a tag without a value', { tags: { line: '' } }, 'tags.line'],
    ['a tag with 65 characters', { tags: { line: 'x'.repeat(65) } }, 'tags.line'],
    ['a tag with a comma', { tags: { line: 'a,b' } }, 'tags.line'],
    ['a tag with a line break', { tags: { line: 'a\nb' } }, 'tags.line'],
    ['a tag with NUL', { tags: { line: 'a\0' } }, 'tags.line'],
    ['a name with a blank', { tags: { 'a b': 'x' } }, 'tags.a b'],
    ['a name with a colon', { tags: { 'a:b': 'x' } }, 'tags.a:b'],
    ['a name of 33 characters', { tags: { ['n'.repeat(33)]: 'x' } }, `tags.${'n'.repeat(33)}`],
    ['a name that begins with _', { tags: { _a: 'x' } }, 'tags._a'],
    ['an empty name', { tags: { '': 'x' } }, 'tags.'],
  ])('%s is 400, names the field and registers nothing', async (_, fields, field) => {
    const reply = await register(key, newDevice(fields));
    expect(reply).toMatchObject({ status: 400, body: { errors: [{ path: field }] } });
    expect(await berth.sql('select from devices')).toEqual([]);
  });

  it('16 tags with names of 32 and values of 64 characters are accepted', async () => {
    const pairs = Array.from({ length: 16 }, (_, n) => [`${n}`.padEnd(32, '.-_a'), 'ü'.repeat(64)] as const);
    const device = await registered({ tags: Object.fromEntries(pairs) });
    expect((await stored(device.uuid)).tags).toEqual(Object.fromEntries(pairs));
  });
});

describe('filters by region and tags', () => {
  const list = (query: Record<string, string>) => call('GET /api/v1/devices', { headers: admin, query });
  const names = async (query: Record<string, string>) =>
    (await list(query)).body.devices.map(({ device_name }: { device_name: string }) => device_name);
  beforeEach(async () => {
    await registered({ deviceName: 'a', region: 'eu', tags: { site: 'berlin', line: '3' } });
    await registered({ deviceName: 'b', region: 'us', tags: { site: 'berlin', line: '4', url: 'a:b' } });
    await registered({ deviceName: 'c', region: 'eu' });
  });

  it('GET /devices', async () => {
    expect(await names({ region: 'eu' })).toEqual(['a', 'c']);
    expect(await names({ tags: 'site:berlin' })).toEqual(['a', 'b']);
    expect(await names({ tags: 'line:4,site:berlin' })).toEqual(['b']);
    expect(await names({ tags: 'url:a:b' })).toEqual(['b']);
    expect(await names({ tags: 'site:berlin', region: 'eu' })).toEqual(['a']);
    expect(await names({ tags: 'site:bonn' })).toEqual([]);
    const { body } = await list({ tags: 'site:berlin', limit: '1' });
    expect(body.next).toBe(`/api/v1/devices?limit=1&tags=site%3Aberlin&after=${body.devices[0].id}`);
  });

  it('GET /devices with more devices than are looked up', async () => {
    await addDevices(berth, 5_100, { tags: `'{"site": "berlin", "line": "9"}'::jsonb`, device_name: `'many ' || n` });
    expect(await names({ tags: 'site:berlin', limit: '3' })).toEqual(['a', 'b', 'many 1']);
    expect(await names({ tags: 'site:berlin,line:3' })).toEqual(['a']);
  });

  it.each(['', 'site', 'site:', ':x', 'site:a,', 'site:a,site:b', '__proto__:x', `a:${'x'.repeat(65)}`, 'a:\0'])(
    'GET /devices: tags %j is 400 and names the parameter',
    async (tags) => {
      expect(await list({ tags })).toMatchObject({ status: 400, body: { errors: [{ path: 'tags' }] } });
    },
  );

  it('POST /devices/bulk-assign', async () => {
    const target = await addBroker(berth);
    const move = (filter: object) => assign(target, { filter, dry_run: true });
    expect((await move({ tags: { site: 'berlin' } })).body).toMatchObject({ would_move: 2 });
    expect((await move({ tags: { site: 'berlin', line: '4' } })).body).toMatchObject({ would_move: 1 });
    expect((await move({ region: 'eu' })).body).toMatchObject({ would_move: 2 });
    expect((await move({ region: 'eu', tags: { site: 'berlin' } })).body).toMatchObject({ would_move: 1 });
    expect((await assign(target, { filter: { tags: { line: '4' } } })).body).toMatchObject({ moved: 1 });
    expect((await assign(target, { filter: { region: 'eu' } })).body).toMatchObject({ moved: 2 });
  });

  it.each([
    [{ tags: {} }, 'filter.tags'],
    [{ tags: { 'a b': 'x' } }, 'filter.tags.a b'],
    [{ tags: { a: 1 } }, 'filter.tags.a'],
    [{ region: '' }, 'filter.region'],
  ])('POST /devices/bulk-assign: %j is 400 and names the field', async (filter, field) => {
    const reply = await assign(null, { filter });
    expect(reply).toMatchObject({ status: 400, body: { errors: [{ path: field }] } });
  });
});
