import pg from 'pg';
import { beforeEach, expect, it } from 'vitest';
import { newCredentials, renewCredentials } from '../../lib/devices/credentials.ts';
import { call } from '../support/api.ts';
import { admin, issueKey, newDevice, register, useBerth } from '../support/berth.ts';
import { contextFor } from '../support/bulk.ts';

/** What a renewal of a legacy device's MQTT user leaves behind, and what it touches. */
const berth = useBerth();
beforeEach(() => berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events'));

/** A registered device whose MQTT user has another name, and whose password Berth does not know. */
async function legacyDevice(name: string) {
  const device = newDevice();
  const { key } = await issueKey();
  await register(key, device);
  const username = `device_${device.uuid}`;
  await berth.sql('update devices set mqtt_username = $1, mqtt_password_salt = null where uuid = $2', [
    name,
    device.uuid,
  ]);
  await berth.sql('update mqtt_users set username = $1 where username = $2', [name, username]);
  await berth.sql('update mqtt_acls set username = $1 where username = $2', [name, username]);
  return { ...device, username, key };
}
const renew = ({ key, username: _, ...device }: Awaited<ReturnType<typeof legacyDevice>>) => register(key, device);
const acls = () => berth.sql('select username, topic from mqtt_acls order by username');

it('a renewal removes leftover ACLs of the old and of the new name, and leaves those of other devices', async () => {
  const [device, other] = [await legacyDevice('old-name'), await legacyDevice('other-name')];
  await berth.sql(`insert into mqtt_acls (username, topic, access, priority) values ($1, '#', 7, 0)`, [
    device.username,
  ]);
  const othersAcl = (await acls()).find(({ username }) => username === 'other-name');
  expect((await renew(device)).status).toBe(200);
  const left = await acls();
  expect(left.map(({ username }) => username)).toEqual([device.username, 'other-name'].sort());
  expect(left.some(({ topic }) => topic === '#')).toBe(false);
  expect(left).toContainEqual(othersAcl);
  const users = await berth.sql('select username from mqtt_users order by username');
  expect(users.map(({ username }) => username)).toEqual([device.username, 'other-name'].sort());
  const salts = await berth.sql('select uuid::text, mqtt_password_salt is null as is_legacy from devices');
  expect(Object.fromEntries(salts.map(({ uuid, is_legacy }) => [uuid, is_legacy]))).toEqual({
    [device.uuid]: false,
    [other.uuid]: true,
  });
});

it('a renewal does not enable a user that an operator disabled under its old name', async () => {
  const device = await legacyDevice('old-name');
  await berth.sql('update mqtt_users set is_active = false');
  await renew(device);
  expect(await berth.sql('select username, is_active from mqtt_users')).toEqual([
    { username: device.username, is_active: false },
  ]);
});

it('a renewal that comes too late changes no user and no ACL', async () => {
  const device = newDevice();
  await register((await issueKey()).key, device);
  await berth.sql(`insert into mqtt_users (username, password_hash, is_superuser) values ('old-name', 'x', false)`);
  await berth.sql(`insert into mqtt_acls (username, topic, access, priority) values ('old-name', 'old/#', 7, 0)`);
  const [row] = await berth.sql('select id, uuid::text, mqtt_password_salt as salt from devices');
  const everything = async () => [
    await berth.sql('select * from mqtt_users order by username'),
    await berth.sql('select * from mqtt_acls order by username'),
    await berth.sql('select * from devices'),
  ];
  const before = await everything();
  const stale = { id: row?.id, uuid: row?.uuid, mqtt_username: 'old-name', mqtt_password_salt: 'another salt' };
  const fresh = await newCredentials(device.deviceApiKey);
  const login = await renewCredentials(contextFor(5_000), stale, device.deviceApiKey, fresh);
  expect(login.password).not.toBe(fresh.password);
  expect(await everything()).toEqual(before);
});

it('where uuids are text, a device has no MQTT user of another spelling of its uuid', async () => {
  const { key } = await issueKey();
  const device = newDevice();
  const dashless = newDevice({ uuid: device.uuid.replaceAll('-', '') });
  for (const one of [device, dashless]) await register(key, one);
  await berth.sql('update devices set mqtt_username = null');
  const tied = () => berth.sql('select username, device_uuid from mqtt_device_users order by username desc');
  const own = ({ uuid }: { uuid: string }) => ({ username: `device_${uuid}`, device_uuid: uuid });
  expect(await tied()).toEqual([own(device), own(dashless)].sort((a, b) => (a.username < b.username ? 1 : -1)));
  expect(await berth.sql('select berth_mqtt_usernames($1, null) as name', [device.uuid])).toEqual([
    { name: `device_${device.uuid}` },
  ]);
  await call(`DELETE /api/v1/devices/${device.uuid}`, { headers: admin });
  expect(await tied()).toEqual([own(dashless)]);
});

const change = (uuid: string, body: object, headers: Record<string, string> = {}) =>
  call(`PUT /api/v1/devices/${uuid}`, { headers: { ...admin, ...headers }, body });

it('a change without a difference keeps the ETag', async () => {
  const device = newDevice();
  await register((await issueKey()).key, device);
  const first = await change(device.uuid, { device_name: 'one' });
  const again = await change(device.uuid, { device_name: 'one' }, { 'if-match': first.headers.etag ?? '' });
  expect(again.headers.etag).toBe(first.headers.etag);
  expect((await change(device.uuid, { device_name: 'two' })).headers.etag).not.toBe(first.headers.etag);
});

it('412 for a change that waited for another one of the same version', async () => {
  const device = newDevice();
  await register((await issueKey()).key, device);
  const { headers } = await change(device.uuid, { device_name: 'one' });
  const other = new pg.Client({ connectionString: berth.databaseUrl });
  await other.connect();
  try {
    await other.query('begin');
    await other.query(`update devices set device_name = 'two', modified_at = berth_now()`);
    const late = change(device.uuid, { device_name: 'three' }, { 'if-match': headers.etag ?? '' });
    await expect.poll(lockWaiters, { timeout: 4_000 }).toBe(1);
    await other.query('commit');
    expect((await late).status).toBe(412);
  } finally {
    await other.end();
  }
  expect(await berth.sql('select device_name from devices')).toEqual([{ device_name: 'two' }]);
});

const lockWaiters = async () =>
  (
    await berth.sql(
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
  )[0]?.n;
