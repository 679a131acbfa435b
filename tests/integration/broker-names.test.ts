import { beforeEach, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, useBerth } from '../support/berth.ts';
import { addDevices, assign, onJob } from '../support/bulk.ts';

/** Events have the ids of brokers. Their names are shown, also when the brokers are deleted. */
const berth = useBerth();
let here: number;
let there: number;
beforeEach(async () => {
  await berth.sql(
    'truncate devices, device_events, deleted_brokers; delete from mqtt_broker_config where not is_default',
  );
  here = await addBroker(berth, { name: 'here' });
  there = await addBroker(berth, { name: 'there' });
  await addDevices(berth, 1, { mqtt_broker_id: String(here) });
});

const namesOf = async () => {
  const { events } = (await call('GET /api/v1/devices/dev-1/events', { headers: admin })).body;
  return events.map((event: Record<string, unknown>) => [event.from_broker_name, event.to_broker_name]);
};
const move = (id: number | null) => call('PUT /api/v1/devices/dev-1', { headers: admin, body: { mqtt_broker_id: id } });

it('events name both brokers, and none where there is none', async () => {
  await move(there);
  await move(null);
  expect(await namesOf()).toEqual([
    ['there', null],
    ['here', 'there'],
  ]);
});

it('events have the present name of a broker that was renamed', async () => {
  await move(there);
  await call(`PUT /api/v1/mqtt/brokers/${here}`, { headers: admin, body: { name: 'old hall' } });
  expect(await namesOf()).toEqual([['old hall', 'there']]);
});

it('events, jobs and their devices name a broker that was deleted, by the API or by SQL', async () => {
  const { id } = (await assign(there)).body;
  await call(`DELETE /api/v1/mqtt/brokers/${here}`, { headers: admin });
  await berth.sql('delete from mqtt_broker_config where id = $1', [there]);
  expect(await namesOf()).toEqual([['here', 'there']]);
  expect((await onJob('GET', id)).body.target).toEqual({ mqtt_broker_id: there, name: 'there' });
  expect((await onJob('GET', id, '/devices')).body.devices).toMatchObject([
    { from_broker_name: 'here', to_broker_name: 'there' },
  ]);
});

it('a role that may only delete brokers, such as the legacy service’s, deletes them as before', async () => {
  await move(there);
  await berth.sql(`
    create role only_brokers; grant usage on schema public to only_brokers;
    grant select, delete on mqtt_broker_config to only_brokers; grant select, update on devices to only_brokers;
    grant select, update on provisioning_keys to only_brokers`);
  try {
    await berth.sql(`begin; set local role only_brokers; delete from mqtt_broker_config where id = ${here}; commit`);
  } finally {
    await berth.sql('drop owned by only_brokers; drop role only_brokers');
  }
  expect(await namesOf()).toEqual([['here', 'there']]);
});

it('an id that is deleted twice has its last name, and a name that was never kept is null', async () => {
  await move(there);
  await berth.sql(`delete from mqtt_broker_config where id = $1`, [here]);
  await addBroker(berth, { id: here, name: 'again' });
  await berth.sql(`delete from mqtt_broker_config where id = $1`, [here]);
  expect(await namesOf()).toEqual([['again', 'there']]);
  await berth.sql('truncate deleted_brokers');
  expect(await namesOf()).toEqual([[null, 'there']]);
});
