import { expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, bearer, issueKey, newDevice, register, useBerth } from '../support/berth.ts';
import { assign } from '../support/bulk.ts';

/** Moves through the API: which brokers accept a device that does not poll, and what `close_former` ends. */
const berth = useBerth();
let port = 3000;
const another = (columns = {}) => addBroker(berth, { port: port++, ...columns });
const defaultId = async () => (await berth.sql('select id from mqtt_broker_config where is_default'))[0]?.id as number;

/** A device that was handed the broker, or that follows the default. */
async function handed(brokerId?: number) {
  const { key } = await issueKey();
  const device = newDevice();
  await register(key, device);
  const headers = bearer(device.deviceApiKey);
  const poll = () => call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers });
  if (brokerId) {
    await berth.sql('update devices set mqtt_broker_id = $1 where uuid = $2', [brokerId, device.uuid]);
    await poll();
    await berth.sql('update devices set former_broker_ids = null where uuid = $1', [device.uuid]);
  }
  return device.uuid;
}
const put = async (uuid: string, body: Record<string, unknown>) =>
  expect((await call(`PUT /api/v1/devices/${uuid}`, { headers: admin, body })).status).toBe(200);
const edit = async (id: number, body: Record<string, unknown>) =>
  expect((await call(`PUT /api/v1/mqtt/brokers/${id}`, { headers: admin, body })).status).toBe(200);
const accepting = async (uuid: string) =>
  (await berth.sql('select broker_id, reason from mqtt_device_brokers where uuid = $1 order by broker_id', [uuid])).map(
    ({ broker_id, reason }) => `${broker_id} ${reason}`,
  );
const forget = (uuid: string) =>
  berth.sql('update devices set handed_broker_id = null, handed_settings = null, handed_at = null where uuid = $1', [
    uuid,
  ]);

it('PUT: the handed broker stays, with close_former it does not', async () => {
  const [a, b, c] = [await another(), await another(), await another()];
  const uuid = await handed(a);
  await put(uuid, { mqtt_broker_id: b });
  expect(await accepting(uuid)).toEqual([`${a} handed`, `${b} resolved`]);
  await put(uuid, { close_former: true });
  expect(await accepting(uuid)).toEqual([`${b} resolved`]);
  await put(uuid, { mqtt_broker_id: c });
  expect(await accepting(uuid), 'closed stays closed').toEqual([`${c} resolved`]);
  await put(uuid, { mqtt_broker_id: a });
  await put(uuid, { mqtt_broker_id: c });
  expect(await accepting(uuid), 'it belonged to it again').toEqual([`${a} handed`, `${c} resolved`]);
  await put(uuid, { mqtt_broker_id: b, close_former: true });
  expect(await accepting(uuid)).toEqual([`${b} resolved`]);
});

it('PUT close_former also ends a former broker, and is recorded', async () => {
  const [a, b] = [await another(), await another()];
  const uuid = await handed(a);
  await berth.sql(
    `update devices set mqtt_broker_id = $1, handed_broker_id = $1, former_broker_ids = array[$2]::integer[],
       former_until = now() + interval '1 day' where uuid = $3`,
    [b, a, uuid],
  );
  expect(await accepting(uuid)).toEqual([`${a} former`, `${b} resolved`]);
  await put(uuid, { close_former: true, reason: 'stolen' });
  expect(await accepting(uuid)).toEqual([`${b} resolved`]);
  const [event] = await berth.sql('select type, reason from device_events where device_uuid = $1 order by id desc', [
    uuid,
  ]);
  expect(event).toEqual({ type: 'updated', reason: 'stolen' });
});

it('a row that does not say what was handed gets it with the move', async () => {
  const [a, b] = [await another(), await another()];
  const [single, inBulk, follower] = [await handed(a), await handed(a), await handed()];
  for (const uuid of [single, inBulk, follower]) await forget(uuid);
  await put(single, { mqtt_broker_id: b });
  await put(follower, { mqtt_broker_id: b });
  await assign(b, { filter: { uuids: [inBulk] } });
  for (const uuid of [single, inBulk]) expect(await accepting(uuid)).toEqual([`${a} handed`, `${b} resolved`]);
  expect(await accepting(follower)).toEqual([`${await defaultId()} handed`, `${b} resolved`]);
});

it('after a change of the default, such a row gets the default of its time, or the broker of its assignment', async () => {
  const first = await defaultId();
  const [second, a, b] = [await another(), await another(), await another()];
  const [follower, assigned] = [await handed(), await handed(a)];
  for (const uuid of [follower, assigned]) await forget(uuid);
  await edit(second, { is_default: true });
  for (const uuid of [follower, assigned]) await put(uuid, { mqtt_broker_id: b });
  expect(await accepting(follower)).toEqual([`${first} handed`, `${b} resolved`]);
  expect(await accepting(assigned)).toEqual([`${a} handed`, `${b} resolved`]);
  await edit(first, { is_default: true });
});

it('bulk-assign: the handed broker stays, with close_former it does not', async () => {
  const [a, b] = [await another(), await another()];
  const [stays, closed] = [await handed(a), await handed(a)];
  await assign(b, { filter: { uuids: [stays] } });
  const job = await assign(b, { filter: { uuids: [closed] }, close_former: true });
  expect(job.body).toMatchObject({ close_former: true, moved: 1 });
  expect(await accepting(stays)).toEqual([`${a} handed`, `${b} resolved`]);
  expect(await accepting(closed)).toEqual([`${b} resolved`]);
});

it('another default: followers stay at the one before, whatever their rows say; close_former ends that with one row', async () => {
  const first = await defaultId();
  const [second, third] = [await another(), await another()];
  const [known, unknown, elsewhere] = [await handed(), await handed(), await handed(first)];
  await forget(unknown);
  await edit(second, { is_default: true });
  for (const uuid of [known, unknown]) expect(await accepting(uuid)).toEqual([`${first} handed`, `${second} resolved`]);
  await edit(third, { is_default: true });
  expect(await accepting(known)).toEqual([`${first} handed`, `${third} resolved`]);
  await edit(first, { close_former: true });
  expect(await accepting(known)).toEqual([`${third} resolved`]);
  expect(await accepting(elsewhere), 'it belongs there').toEqual([`${first} resolved`]);
  await put(elsewhere, { mqtt_broker_id: second });
  expect(await accepting(elsewhere), 'it belonged there until now').toEqual([`${first} handed`, `${second} resolved`]);
  await edit(first, { is_default: true });
  await edit(second, { is_default: true });
  expect(await accepting(known), 'it belonged there again').toEqual([`${first} handed`, `${second} resolved`]);
  await edit(first, { is_default: true, close_former: true });
  await edit(second, { is_default: true, close_former: true });
  expect(await accepting(known)).toEqual([`${second} resolved`]);
  await edit(first, { is_default: true });
});

it('closed stays closed when the broker ceases to be the default, for a device that had left it before', async () => {
  const first = await defaultId();
  const [second, b] = [await another(), await another()];
  const uuid = await handed();
  await put(uuid, { mqtt_broker_id: b });
  await edit(first, { close_former: true });
  expect(await accepting(uuid)).toEqual([`${b} resolved`]);
  await edit(second, { is_default: true });
  expect(await accepting(uuid)).toEqual([`${b} resolved`]);
  await put(uuid, { mqtt_broker_id: null });
  expect(await accepting(uuid), 'it follows the next default').toEqual([`${second} resolved`]);
  await edit(first, { is_default: true });
});

it('a broker that was closed accepts a device again that it was handed since', async () => {
  const main = await defaultId();
  const a = await another();
  const { key } = await issueKey({ default_broker_id: a });
  const device = newDevice();
  await register(key, device);
  await edit(main, { close_former: true });
  const rests = (is_active: boolean) =>
    berth.sql('update mqtt_broker_config set is_active = $1 where id = $2', [is_active, a]);
  await rests(false);
  await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(device.deviceApiKey) });
  await rests(true);
  expect(await accepting(device.uuid)).toContain(`${main} handed`);
});

it('close_former holds for devices whose rows do not say what they were handed', async () => {
  const first = await defaultId();
  const second = await another();
  const [byDevice, byBroker, byNobody] = [await handed(), await handed(), await handed()];
  for (const uuid of [byDevice, byBroker]) await forget(uuid);
  // It was handed MQTT_BROKER_URL: that is known.
  await berth.sql('update devices set handed_broker_id = null where uuid = $1', [byNobody]);
  await edit(second, { is_default: true });
  expect(await accepting(byNobody)).toEqual([`${second} resolved`]);
  await put(byDevice, { close_former: true });
  expect(await accepting(byDevice)).toEqual([`${second} resolved`]);
  expect(await accepting(byBroker)).toEqual([`${first} handed`, `${second} resolved`]);
  await edit(first, { close_former: true });
  expect(await accepting(byBroker)).toEqual([`${second} resolved`]);
  await edit(first, { is_default: true });
});

it('close_former of a broker ends the grace period of its former devices', async () => {
  const [a, b] = [await another(), await another()];
  const { key } = await issueKey({ default_broker_id: a });
  const device = newDevice();
  await register(key, device);
  await put(device.uuid, { mqtt_broker_id: b });
  await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(device.deviceApiKey) });
  expect(await accepting(device.uuid)).toEqual([`${a} former`, `${b} resolved`]);
  await edit(a, { close_former: true });
  expect(await accepting(device.uuid)).toEqual([`${b} resolved`]);
});

it('a poll does not open again what was closed', async () => {
  const [a, b] = [await another(), await another()];
  const { key } = await issueKey({ default_broker_id: a });
  const device = newDevice();
  await register(key, device);
  await put(device.uuid, { mqtt_broker_id: b });
  await edit(a, { close_former: true });
  await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(device.deviceApiKey) });
  expect(await accepting(device.uuid)).toEqual([`${b} resolved`]);
});

it('an edited broker is the same broker; a deleted one accepts nobody', async () => {
  const [a, b] = [await another(), await another()];
  const uuid = await handed(a);
  await edit(a, { host: 'other.example.com', client_id_prefix: 'other' });
  expect(await accepting(uuid)).toEqual([`${a} resolved`]);
  const gone = await call(`DELETE /api/v1/mqtt/brokers/${a}`, { headers: admin, query: { reassign_to: String(b) } });
  expect(gone.status).toBe(200);
  expect(await accepting(uuid)).toEqual([`${b} resolved`]);
});

it('of a broker, its former prefixes are remembered, and when it ceased to be the default', async () => {
  const first = await defaultId();
  const a = await another();
  const remembered = async () =>
    (
      await berth.sql(
        `select former_client_id_prefixes as prefixes, default_until is not null as was_default
         from mqtt_broker_config where id = $1`,
        [a],
      )
    )[0];
  await edit(a, { is_default: false });
  expect(await remembered()).toEqual({ prefixes: null, was_default: false });
  await edit(a, { is_default: true });
  await edit(a, { client_id_prefix: 'x' });
  expect(await remembered()).toEqual({ prefixes: ['berth'], was_default: false });
  await edit(a, { client_id_prefix: 'berth' });
  await edit(a, { client_id_prefix: 'berth' });
  expect(await remembered()).toEqual({ prefixes: ['x'], was_default: false });
  await edit(first, { is_default: true });
  expect(await remembered()).toEqual({ prefixes: ['x'], was_default: true });
});
