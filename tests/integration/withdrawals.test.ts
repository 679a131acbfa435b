import { beforeEach, expect, it } from 'vitest';
import { releaseLease, takeLease } from '../../lib/database/leases.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, newDevice, useBerth, withTrigger } from '../support/berth.ts';
import { contextFor } from '../support/bulk.ts';

const berth = useBerth();
let id: number;
beforeEach(async () => {
  await berth.sql('truncate devices, leases; delete from mqtt_broker_config');
  id = await addBroker(berth, { is_default: true });
});

const path = (broker: number) => `/api/v1/mqtt/brokers/${broker}`;
const brokers = () => berth.sql('select id, is_active, is_default from mqtt_broker_config order by id');
const addDevice = (broker: number) =>
  berth.sql('insert into devices (uuid, mqtt_broker_id) values ($1, $2)', [newDevice().uuid, broker]);

it.each([
  ['PUT', { is_active: false }],
  ['PUT', { is_default: false }],
  ['DELETE', undefined],
])('409 for %s %j whose lease has ended before the statement, and nothing is stored', async (method, body) => {
  const before = await brokers();
  const ended = `new.until := now() - interval '1 second'`;
  await withTrigger(berth, 'before insert or update on leases', ended, async () => {
    const reply = await call(`${method} ${path(id)}`, { headers: admin, ...(body && { body }) });
    expect(reply).toMatchObject({ status: 409, body: { code: 'broker-changing' } });
  });
  expect(await brokers()).toEqual(before);
});

it.each([undefined, 'true'])(
  '422 for a deletion whose devices would follow an inactive default (force: %s)',
  async (force) => {
    await berth.sql('update mqtt_broker_config set is_active = false');
    const other = await addBroker(berth);
    await addDevice(other);
    const query = { reassign_to: 'default', ...(force && { force }) };
    const reply = await call(`DELETE ${path(other)}`, { headers: admin, query });
    // With force, devices may be left without a broker.
    expect(reply.status).toBe(force ? 200 : 422);
  },
);

it('a lease is released by its holder only, and by its name only', async () => {
  const take = (name: string) => takeLease(contextFor(5_000), name, 'a', 60);
  const [one, two] = [await take('one'), await take('two')];
  if (!one || !two) throw new Error('not taken');
  const until = () => berth.sql('select name, until > now() as is_held from leases order by name');
  await releaseLease(contextFor(5_000), { ...one, holder: 'b' });
  expect(await until()).toEqual([
    { name: 'one', is_held: true },
    { name: 'two', is_held: true },
  ]);
  await releaseLease(contextFor(5_000), one);
  expect(await until()).toEqual([
    { name: 'one', is_held: false },
    { name: 'two', is_held: true },
  ]);
});
