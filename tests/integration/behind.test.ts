import { afterAll, beforeAll, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, bearer, issueKey, newDevice, register, startBerth } from '../support/berth.ts';

/** Which devices hold other settings than their broker has now. */
let berth: Berth;
let main: number;
let other: number;
beforeAll(async () => {
  berth = await startBerth();
  main = await addBroker(berth, { is_default: true, port: 1 });
  other = await addBroker(berth, { port: 2 });
});
afterAll(() => berth.stop());

async function registered(brokerId?: number) {
  const { key } = await issueKey(brokerId ? { default_broker_id: brokerId } : {});
  const device = newDevice();
  await register(key, device);
  return device;
}
const poll = ({ uuid, deviceApiKey }: { uuid: string; deviceApiKey: string }) =>
  call(`GET /api/v1/device/${uuid}/mqtt`, { headers: bearer(deviceApiKey) });
const put = (uuid: string, body: Record<string, unknown>) =>
  call(`PUT /api/v1/devices/${uuid}`, { headers: admin, body });
const get = async (uuid: string) => (await call(`GET /api/v1/devices/${uuid}`, { headers: admin })).body;
const list = async (query: Record<string, string> = {}) =>
  (await call('GET /api/v1/devices', { headers: admin, query: { behind: 'true', ...query } })).body;
const behind = async () => (await list()).devices.map(({ uuid }: { uuid: string }) => uuid);
const counts = async () =>
  Object.fromEntries(
    (await call('GET /api/v1/mqtt/brokers/summary', { headers: admin })).body.data.map(
      (row: { id: number; behind_count: number }) => [row.id, row.behind_count],
    ),
  );

it('GET /devices/{uuid} says what the device was handed and whether it follows', async () => {
  const device = await registered();
  expect(await get(device.uuid)).toMatchObject({
    handed: { broker_id: main, version: expect.stringMatching(/^[0-9a-f]{8}$/), at: expect.stringMatching(/Z$/) },
    follows: true,
    why_follows: `It was handed the current settings of broker ${main}.`,
  });
  await put(device.uuid, { mqtt_broker_id: other });
  expect(await get(device.uuid)).toMatchObject({
    handed: { broker_id: main },
    follows: false,
    why_follows: `It was handed broker ${main}, belongs to broker ${other}, and has not asked since.`,
  });
  await poll(device);
  expect(await get(device.uuid)).toMatchObject({
    handed: { broker_id: other },
    follows: 'unknown',
    why_follows: `It was handed the current settings, and no login at broker ${other} was seen since.`,
  });
  await berth.sql('select berth_end_former($1, $2)', [device.uuid, other]);
  expect(await get(device.uuid)).toMatchObject({ follows: true });
  await berth.sql('update mqtt_broker_config set keep_alive = 61 where id = $1', [other]);
  expect(await get(device.uuid)).toMatchObject({
    follows: false,
    why_follows: `It was handed earlier settings of broker ${other}, and has not asked since they changed.`,
  });
  await berth.sql('update devices set handed_settings = null where uuid = $1', [device.uuid]);
  expect(await get(device.uuid)).toMatchObject({
    handed: { broker_id: other, version: null },
    follows: 'unknown',
    why_follows: `Before this version, it was handed broker ${other}; which settings of it is not known.`,
  });
  const unknown = {
    follows: 'unknown',
    why_follows: 'It is not known which settings the device was handed.',
  };
  await berth.sql('update devices set handed_broker_id = null where uuid = $1', [device.uuid]);
  expect(await get(device.uuid)).toMatchObject({ ...unknown, handed: { broker_id: null, at: expect.any(String) } });
  await berth.sql('update devices set handed_at = null where uuid = $1', [device.uuid]);
  expect(await get(device.uuid)).toMatchObject({ ...unknown, handed: null });
  await berth.sql('delete from devices where uuid = $1', [device.uuid]);
});

it('GET /devices?behind=true and the summary: a move, another default, edited settings; not after a poll', async () => {
  const [moved, follower, keyed] = [await registered(), await registered(), await registered(other)];
  await berth.sql('update devices set mqtt_broker_id = null where uuid = $1', [keyed.uuid]);
  expect(await behind()).toEqual([]);
  expect(await counts()).toEqual({ [main]: 0, [other]: 0 });
  await put(moved.uuid, { mqtt_broker_id: other });
  expect(await behind()).toEqual([moved.uuid]);
  expect(await counts()).toEqual({ [main]: 0, [other]: 1 });
  await call(`PUT /api/v1/mqtt/brokers/${other}`, { headers: admin, body: { is_default: true } });
  expect(await behind(), 'its key decides for the third').toEqual([moved.uuid, follower.uuid]);
  expect(await counts()).toEqual({ [main]: 0, [other]: 2 });
  await poll(moved);
  await poll(follower);
  expect(await behind()).toEqual([]);
  await call(`PUT /api/v1/mqtt/brokers/${other}`, { headers: admin, body: { keep_alive: 62 } });
  expect(await behind()).toEqual([moved.uuid, follower.uuid, keyed.uuid]);
  expect((await list({ limit: '2' })).next).toContain('behind=true');
  expect(await counts()).toEqual({ [main]: 0, [other]: 3 });
  await call(`PUT /api/v1/mqtt/brokers/${main}`, { headers: admin, body: { is_default: true } });
  await berth.sql(`update devices set handed_broker_id = null, handed_at = null`);
  expect(await behind(), 'not known').toEqual([]);
  expect((await list({ behind: 'false' })).code).toBe('invalid-request');
});

it('a device of which only the broker is known is behind at another one; a changed key can make a device behind', async () => {
  await berth.sql('truncate devices');
  const [known, keyed] = [await registered(), await registered()];
  await berth.sql('update devices set handed_settings = null where uuid = $1', [known.uuid]);
  expect(await behind()).toEqual([]);
  await put(known.uuid, { mqtt_broker_id: other });
  expect(await get(known.uuid)).toMatchObject({ follows: false });
  expect(await behind()).toEqual([known.uuid]);
  await berth.sql(
    `update provisioning_keys k set default_broker_id = $1 from devices d where d.provisioned_by_key_id = k.id and d.uuid = $2`,
    [other, keyed.uuid],
  );
  expect(await behind()).toEqual([known.uuid, keyed.uuid]);
});
