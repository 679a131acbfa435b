import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, bearer, issueKey, newDevice, register, setEnv, useBerth, withTrigger } from '../support/berth.ts';

/** What a device was last handed, and which brokers accept it because of that. */
const berth = useBerth();

let port = 2000;
const another = () => addBroker(berth, { port: port++ });

async function registered(brokerId: number) {
  const key = await issueKey({ default_broker_id: brokerId });
  const device = newDevice();
  const reply = await register(key.key, device);
  expect(reply.status).toBe(200);
  const etags = { current: `"${reply.body.mqtt.version}"` };
  const poll = async (tag?: string) => {
    const headers = { ...bearer(device.deviceApiKey), ...(tag ? { 'if-none-match': tag } : {}) };
    const answer = await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers });
    etags.current = answer.headers.etag as string;
    return answer.status;
  };
  const move = (to: number | null) =>
    berth.sql('update devices set mqtt_broker_id = $1 where uuid = $2', [to, device.uuid]);
  const row = async () => (await berth.sql('select * from devices where uuid = $1', [device.uuid]))[0] as never as Row;
  const accepting = async () =>
    (
      await berth.sql(`select broker_id, reason from mqtt_device_brokers where uuid = $1 order by broker_id`, [
        device.uuid,
      ])
    ).map(({ broker_id, reason }) => `${broker_id} ${reason}`);
  const login = (at: number) => berth.sql('select berth_end_former($1, $2)', [device.uuid, at]);
  return { key: key.key, device, etags, poll, move, row, accepting, login };
}
type Row = {
  handed_broker_id: number | null;
  handed_settings: string;
  handed_at: Date;
  former_broker_ids: number[] | null;
  former_until: Date | null;
  xmin: string;
};

const version = async (uuid: string) => (await berth.sql('select xmin, ctid from devices where uuid = $1', [uuid]))[0];
const settingsOf = async (id: number) =>
  (await berth.sql('select settings_hash from mqtt_broker_config where id = $1', [id]))[0]?.settings_hash;
const HOUR = 3_600_000;

it('registering records what it hands, and neither a repeat nor a 304 nor a 200 with the same settings writes', async () => {
  const a = await another();
  const { key, device, etags, poll, row } = await registered(a);
  expect(await row()).toMatchObject({
    handed_broker_id: a,
    handed_settings: await settingsOf(a),
    former_broker_ids: null,
  });
  const before = await version(device.uuid);
  expect((await register(key, device)).headers['idempotent-replayed']).toBe('true');
  expect(await poll(etags.current)).toBe(304);
  expect(await poll()).toBe(200);
  expect(await version(device.uuid)).toEqual(before);
});

it('a 200 for another broker keeps the former one for 24 hours; a lost reply costs nothing', async () => {
  const [a, b] = [await another(), await another()];
  const { device, etags, poll, move, row, accepting } = await registered(a);
  const old = etags.current;
  await move(b);
  expect(await accepting()).toEqual([`${a} handed`, `${b} resolved`]);
  expect(await poll(old)).toBe(200);
  const { handed_broker_id, former_broker_ids, former_until } = await row();
  expect({ handed_broker_id, former_broker_ids }).toEqual({ handed_broker_id: b, former_broker_ids: [a] });
  expect((former_until as Date).getTime() - Date.now()).toBeGreaterThan(23.9 * HOUR);
  expect((former_until as Date).getTime() - Date.now()).toBeLessThan(24.1 * HOUR);
  const before = await version(device.uuid);
  expect(await poll(old)).toBe(200);
  expect(await poll(etags.current)).toBe(304);
  expect(await version(device.uuid)).toEqual(before);
  expect(await accepting()).toEqual([`${a} former`, `${b} resolved`]);
});

it('the grace period begins again while the device says that it holds other settings', async () => {
  const [a, b] = [await another(), await another()];
  const { etags, device, poll, move, row } = await registered(a);
  const old = etags.current;
  await move(b);
  await poll(old);
  await berth.sql(`update devices set former_until = now() + interval '1 hour' where uuid = $1`, [device.uuid]);
  await poll();
  await poll(etags.current);
  expect((await row()).former_until?.getTime()).toBeLessThan(Date.now() + 2 * HOUR);
  await poll(old);
  expect((await row()).former_until?.getTime()).toBeGreaterThan(Date.now() + 23 * HOUR);
});

it('FORMER_BROKER_HOURS sets the grace period; after it the former broker refuses', async () => {
  const [a, b] = [await another(), await another()];
  const { device, poll, move, row, accepting } = await registered(a);
  await move(b);
  setEnv({ FORMER_BROKER_HOURS: '2' });
  await poll();
  setEnv({});
  expect((await row()).former_until?.getTime()).toBeLessThan(Date.now() + 2.1 * HOUR);
  await berth.sql('update devices set former_until = now() where uuid = $1', [device.uuid]);
  expect(await accepting()).toEqual([`${b} resolved`]);
});

it('a login at the new broker ends the permission at the former one, a login elsewhere does not', async () => {
  const [a, b] = [await another(), await another()];
  const { device, poll, move, row, accepting, login } = await registered(a);
  /** Brokers at which a login would end something: at others, it writes nothing. */
  const endings = async () =>
    (await berth.sql('select broker_id from mqtt_device_brokers where uuid = $1 and ends_former', [device.uuid])).map(
      ({ broker_id }) => broker_id,
    );
  await move(b);
  await login(b);
  expect(await accepting()).toEqual([`${a} handed`, `${b} resolved`]);
  expect(await endings()).toEqual([]);
  await poll();
  const other = await registered(a);
  await other.move(b);
  await other.poll();
  expect(await endings()).toEqual([b]);
  await login(a);
  expect(await accepting()).toEqual([`${a} former`, `${b} resolved`]);
  await login(b);
  expect(await accepting()).toEqual([`${b} resolved`]);
  expect(await row()).toMatchObject({ former_broker_ids: null, former_until: null });
  const before = await version(device.uuid);
  await login(b);
  expect(await version(device.uuid)).toEqual(before);
  expect(await other.accepting(), 'of another device').toEqual([`${a} former`, `${b} resolved`]);
});

it('a login does not wait while somebody else changes the device', async () => {
  const [a, b] = [await another(), await another()];
  const { device, poll, move, accepting, login } = await registered(a);
  await move(b);
  await poll();
  const changer = new pg.Client({ connectionString: berth.databaseUrl });
  await changer.connect();
  await changer.query('begin');
  await changer.query('select from devices where uuid = $1 for update', [device.uuid]);
  const waited = setTimeout(1_000, 'waited');
  expect(await Promise.race([login(b).then(() => 'returned'), waited])).toBe('returned');
  await changer.end();
  expect(await accepting()).toEqual([`${a} former`, `${b} resolved`]);
});

it('a draining broker keeps its devices; a device that resolves to no row, and a user that is no device, have broker_id NULL', async () => {
  const a = await another();
  const { device, accepting } = await registered(a);
  await berth.sql('update mqtt_broker_config set accepts_new_devices = false where id = $1', [a]);
  expect(await accepting()).toEqual([`${a} resolved`]);
  const isActive = (value: boolean) =>
    berth.sql('update mqtt_broker_config set is_active = $2 where id = $1 or is_default', [a, value]);
  await isActive(false);
  expect(await accepting()).toEqual(['null resolved']);
  await berth.sql(`insert into mqtt_users (username, password_hash) values ('robot', 'x')`);
  const users = await berth.sql(
    'select username, broker_id, reason, ends_former from mqtt_broker_users where username = any($1) order by username',
    [['robot', `device_${device.uuid}`]],
  );
  expect(users).toEqual([
    { username: `device_${device.uuid}`, broker_id: null, reason: 'resolved', ends_former: false },
    { username: 'robot', broker_id: null, reason: 'resolved', ends_former: false },
  ]);
  await isActive(true);
});

it('client ids with a former prefix have both spellings of the uuid', async () => {
  const [row] = await berth.sql(`select berth_former_client_ids('device_ABC', 'abc', array['old', 'older']) as ids`);
  expect(row?.ids.sort()).toEqual(['old_ABC', 'old_abc', 'older_ABC', 'older_abc']);
});

it('moved twice: without a poll the handed broker stays, with polls every broker since the last login does', async () => {
  const [a, b, c] = [await another(), await another(), await another()];
  const silent = await registered(a);
  await silent.move(b);
  await silent.move(c);
  expect(await silent.accepting()).toEqual([`${a} handed`, `${c} resolved`]);
  const polling = await registered(a);
  await polling.move(b);
  await polling.poll();
  await polling.move(c);
  expect(await polling.accepting()).toEqual([`${a} former`, `${b} handed`, `${c} resolved`]);
  await polling.poll();
  expect(await polling.accepting()).toEqual([`${a} former`, `${b} former`, `${c} resolved`]);
  await polling.login(c);
  expect(await polling.accepting()).toEqual([`${c} resolved`]);
});

it('moved back: with the reply lost or received, and a 304 corrects what is recorded', async () => {
  const [a, b] = [await another(), await another()];
  const { etags, poll, move, row, accepting } = await registered(a);
  const old = etags.current;
  await move(b);
  await poll(old);
  await move(a);
  expect(await accepting()).toEqual([`${a} resolved`, `${b} handed`]);
  expect(await poll(old)).toBe(304);
  expect(await row()).toMatchObject({ handed_broker_id: a, former_broker_ids: [b] });
  expect(await accepting()).toEqual([`${a} resolved`, `${b} former`]);
});

it('other settings of the same broker are recorded, and change nothing at former brokers', async () => {
  const [a, b] = [await another(), await another()];
  const { device, poll, move, row, accepting } = await registered(a);
  await move(b);
  await poll();
  await berth.sql(`update devices set former_until = now() + interval '1 hour' where uuid = $1`, [device.uuid]);
  const before = await settingsOf(b);
  await berth.sql(`update mqtt_broker_config set keep_alive = 17, description = 'x' where id = $1`, [b]);
  expect(await settingsOf(b)).not.toBe(before);
  await poll();
  expect((await row()).handed_settings).toBe(await settingsOf(b));
  expect((await row()).former_until?.getTime()).toBeLessThan(Date.now() + 2 * HOUR);
  expect(await accepting()).toEqual([`${a} former`, `${b} resolved`]);
});

it('the reply is sent even if it cannot be recorded, and the recorded broker still accepts the device', async () => {
  const [a, b] = [await another(), await another()];
  const { poll, move, accepting } = await registered(a);
  await move(b);
  await withTrigger(berth, 'before update on devices', `raise exception 'full'`, async () =>
    expect(await poll()).toBe(200),
  );
  expect(await accepting()).toEqual([`${a} handed`, `${b} resolved`]);
});

it('a broker that is inactive or deleted accepts nobody as handed or former', async () => {
  const [a, b] = [await another(), await another()];
  const { poll, move, accepting } = await registered(a);
  await move(b);
  await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [a]);
  expect(await accepting()).toEqual([`${b} resolved`]);
  await berth.sql('update mqtt_broker_config set is_active = true where id = $1', [a]);
  await poll();
  expect(await accepting()).toHaveLength(2);
  await berth.sql('delete from mqtt_broker_config where id = $1', [a]);
  expect(await accepting()).toEqual([`${b} resolved`]);
});

it('a device whose row does not say what it was handed keeps every default since it registered', async () => {
  const { device, accepting } = await registered(await another());
  const forget = async (uuid: string) => {
    await berth.sql('update devices set mqtt_broker_id = null, provisioned_by_key_id = null where uuid = $1', [uuid]);
    await berth.sql('update devices set handed_broker_id = null, handed_at = null where uuid = $1', [uuid]);
  };
  await forget(device.uuid);
  const [first] = await berth.sql('select id from mqtt_broker_config where is_default');
  const second = await another();
  for (const [id, is] of [
    [first?.id, false],
    [second, true],
  ])
    await berth.sql('update mqtt_broker_config set is_default = $2 where id = $1', [id, is]);
  expect(await accepting()).toEqual([`${first?.id} handed`, `${second} resolved`]);
  const later = await registered(second);
  await forget(later.device.uuid);
  expect(await later.accepting()).toEqual([`${second} resolved`]);
});
