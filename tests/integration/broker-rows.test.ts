import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, useBerth } from '../support/berth.ts';

/** Which rows a change or a deletion of a broker touches and locks. */
const berth = useBerth();
const path = '/api/v1/mqtt/brokers';
let keptDefault: number;
beforeEach(async () => {
  await berth.sql('truncate devices, provisioning_keys, mqtt_broker_config cascade');
  keptDefault = await addBroker(berth, { is_default: true });
});

const remove = (id: number, query: Record<string, string> = {}) =>
  call(`DELETE ${path}/${id}`, { headers: admin, query });
const change = (id: number | undefined, body: object) => call(`PUT ${path}/${id}`, { headers: admin, body });
const rows = () => berth.sql('select * from mqtt_broker_config order by id');

it('a change leaves brokers alone that one statement added with it', async () => {
  const added = await berth.sql(
    `insert into mqtt_broker_config (name, host, port) values ('a', 'a', 1), ('b', 'b', 2), ('c', 'c', 3) returning id`,
  );
  const before = await rows();
  expect((await change(added[1]?.id, { port: 8883 })).status).toBe(200);
  expect((await rows()).filter(({ name }) => name !== 'b')).toEqual(before.filter(({ name }) => name !== 'b'));
});

it('a new default changes the former default, and no other broker', async () => {
  const [next, other] = [await addBroker(berth), await addBroker(berth)];
  const [before] = (await rows()).filter(({ id }) => id === other);
  expect((await change(next, { is_default: true })).status).toBe(200);
  const after = await rows();
  expect(after.find(({ id }) => id === other)).toEqual(before);
  expect(after.filter(({ is_default }) => is_default).map(({ id }) => id)).toEqual([next]);
});

it('a deletion moves the devices to the broker that it names, among several, and records it', async () => {
  const [gone, , named] = [await addBroker(berth), await addBroker(berth), await addBroker(berth)];
  await addBroker(berth);
  await berth.sql(`insert into devices (uuid, mqtt_broker_id) values ('d', $1)`, [gone]);
  const reply = await remove(gone, { reassign_to: String(named) });
  expect(reply).toMatchObject({ status: 200, body: { devices_moved: 1 } });
  expect(await berth.sql('select mqtt_broker_id from devices')).toEqual([{ mqtt_broker_id: named }]);
  expect(
    await berth.sql(`select from_broker_id, to_broker_id from device_events where reason = 'broker deleted'`),
  ).toEqual([{ from_broker_id: gone, to_broker_id: named }]);
});

/** A transaction that has locked the provisioning key, as a registration does. */
async function registering(keyId: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: berth.databaseUrl });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query(`begin; set local lock_timeout = '500ms'`);
  await client.query('select from provisioning_keys where id = $1 for update', [keyId]);
  return client;
}

it('a deletion does not wait for registrations with keys that do not name the broker', async () => {
  await registering((await issueKey({ default_broker_id: keptDefault })).id);
  const started = Date.now();
  expect((await remove(await addBroker(berth))).status).toBe(200);
  expect(Date.now() - started).toBeLessThan(1_500);
});

it('a deletion and a registration with a key that names the broker do not deadlock', async () => {
  const gone = await addBroker(berth);
  const registration = await registering((await issueKey({ default_broker_id: gone })).id);
  const removed = remove(gone);
  await sleep(200);
  // The foreign key locks the broker's row.
  await registration.query(`insert into devices (uuid, mqtt_broker_id) values ('d', $1)`, [gone]);
  await registration.query('commit');
  expect((await removed).status).toBe(200);
  expect(await berth.sql('select mqtt_broker_id from devices')).toEqual([{ mqtt_broker_id: null }]);
});
