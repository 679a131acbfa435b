import { beforeEach, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, setEnv, useBerth } from '../support/berth.ts';
import { addDevices } from '../support/bulk.ts';

/** How many devices a change of a broker affects, in its reply or in its refusal. `one` is the default broker. */
const berth = useBerth();
let one: number;
let two: number;
beforeEach(async () => {
  setEnv({});
  await berth.sql('truncate devices, leases, provisioning_keys; delete from mqtt_broker_config');
  one = await addBroker(berth, { name: 'one', is_default: true });
  two = await addBroker(berth, { name: 'two' });
});

const path = '/api/v1/mqtt/brokers';
const update = (id: number, body: object, force = false) =>
  call(`PUT ${path}/${id}`, { headers: admin, body, ...(force ? { query: { force: 'true' } } : {}) });
const affected = async (id: number, body: object, force = true) => {
  const reply = await update(id, body, force);
  expect(reply.status, reply.text).toBe(200);
  return reply.body.devices_affected;
};
/** Devices with these columns; each is a device that has followed: handed what it resolves to. */
const add = async (count: number, columns: Record<string, string> = {}) =>
  addDevices(berth, count, { uuid: 'gen_random_uuid()::text', handed_at: 'now()', ...columns });
const assignedTo = (id: number) => ({ mqtt_broker_id: String(id), handed_broker_id: String(id) });
const following = () => ({ handed_broker_id: String(one) });

describe('devices_affected', () => {
  it('of another default: the devices that follow the default, and those without a broker', async () => {
    await add(3, following());
    await add(2, assignedTo(one));
    await add(1, assignedTo(two));
    expect(await affected(two, { is_default: true })).toBe(3);
    expect(await affected(two, { is_default: true })).toBe(0);
    expect(await affected(two, { is_default: false })).toBe(3);
    expect(await affected(one, { is_default: true })).toBe(3);
  });

  it('of another default: not the devices whose provisioning key has a broker of its own', async () => {
    const { id } = await issueKey({ default_broker_id: two });
    await add(2, { ...assignedTo(two), mqtt_broker_id: 'null', provisioned_by_key_id: `'${id}'::uuid` });
    await add(1, following());
    const three = await addBroker(berth);
    expect(await affected(three, { is_default: true })).toBe(1);
    // Their step is skipped: now they follow the default.
    expect(await affected(two, { is_active: false })).toBe(2);
    expect(await affected(one, { is_default: true })).toBe(3);
  });

  it('of a broker that is created as the default', async () => {
    await add(3, following());
    const body = { name: 'three', host: 'mqtt.example.com', port: 1883 };
    const plain = await call(`POST ${path}`, { headers: admin, body });
    expect(plain).toMatchObject({ status: 201, body: { devices_affected: 0 } });
    const created = await call(`POST ${path}`, { headers: admin, body: { ...body, name: 'four', is_default: true } });
    expect(created).toMatchObject({ status: 201, body: { devices_affected: 3 } });
  });

  it('of a broker that becomes inactive, and active again: its devices', async () => {
    await add(3, assignedTo(two));
    await add(1, following());
    expect(await affected(two, { is_active: false })).toBe(3);
    expect(await affected(two, { is_active: false })).toBe(0);
    expect(await affected(two, { port: 9 })).toBe(0);
    expect(await affected(two, { is_active: true })).toBe(3);
  });

  it('of a broker that is drained: the devices that it keeps', async () => {
    await add(3, assignedTo(two));
    expect(await affected(two, { accepts_new_devices: false })).toBe(3);
    expect(await affected(two, { accepts_new_devices: false })).toBe(0);
    expect(await affected(two, { accepts_new_devices: true })).toBe(0);
  });

  it.each([
    ['port', 1884],
    ['host', 'other.example.com'],
    ['verify_certificate', false],
    ['client_id_prefix', 'line'],
    ['keep_alive', 30],
    ['clean_session', false],
    ['reconnect_period', 5_000],
    ['connect_timeout', 5_000],
    ['protocol', 'mqtts'],
  ])('of other settings: the devices of the broker, once (%s)', async (name, value) => {
    await add(2, following());
    await add(1, assignedTo(one));
    await add(1, assignedTo(two));
    expect(await affected(one, { [name]: value })).toBe(3);
    expect(await affected(one, { [name]: value })).toBe(0);
  });

  it('of a change that devices do not notice is 0', async () => {
    await add(1, following());
    const unnoticed = { name: 'renamed', description: 'x', region: 'eu', broker_type: 'edge', allocation_weight: 5 };
    expect(await affected(one, unnoticed)).toBe(0);
  });

  it('of close_former: the devices that may no longer log in there', async () => {
    await add(2, { mqtt_broker_id: String(two), handed_broker_id: String(one), handed_left_at: 'now()' });
    await add(1, { ...assignedTo(two), former_broker_ids: `array[${one}]`, former_until: "now() + interval '1 hour'" });
    await add(1, { ...assignedTo(two), former_broker_ids: `array[${one}]`, former_until: "now() - interval '1 hour'" });
    await add(4, following());
    expect(await affected(one, { close_former: true })).toBe(3);
    expect(await affected(one, { close_former: true })).toBe(0);
  });

  it('of another default with close_former: also the devices that may no longer log in at the former default', async () => {
    await add(2, { mqtt_broker_id: String(two), handed_broker_id: String(one) });
    await add(4, following());
    expect(await affected(two, { is_default: true, close_former: true })).toBe(6);
  });
});

describe('devices_affected of a deletion', () => {
  const deleted = async (id: number, query: Record<string, string> = {}) => {
    const reply = await call(`DELETE ${path}/${id}`, { headers: admin, query });
    expect(reply.status, reply.text).toBe(200);
    return reply.body.devices_affected;
  };

  it('is 0 for a broker that no device uses', async () => {
    await add(2, following());
    expect(await deleted(two)).toBe(0);
  });

  it('is the devices of a provisioning key that named it: they follow the default', async () => {
    const { id } = await issueKey({ default_broker_id: two });
    await add(3, { ...assignedTo(two), mqtt_broker_id: 'null', provisioned_by_key_id: `'${id}'::uuid` });
    await add(1, following());
    await update(two, { close_former: true });
    expect(await deleted(two)).toBe(3);
  });

  it('is the devices that are moved first, and those that follow their key', async () => {
    const { id } = await issueKey({ default_broker_id: two });
    const three = await addBroker(berth);
    await add(2, assignedTo(two));
    await add(3, { ...assignedTo(two), mqtt_broker_id: 'null', provisioned_by_key_id: `'${id}'::uuid` });
    await add(4, assignedTo(three));
    await add(5, following());
    expect(await deleted(two, { reassign_to: String(three) })).toBe(5);
    expect(await deleted(three, { reassign_to: 'default' })).toBe(6);
  });

  it.each([
    ['of an inactive broker counts devices that resolve to another one because of it', 'three', 2],
    ['of an inactive broker does not count devices that stay where they are', 'one', 0],
    ['of an inactive broker does not count devices that begin to follow', 'default', 0],
  ])('%s', async (_title, target, count) => {
    const three = await addBroker(berth, { name: 'three' });
    await add(2, { ...assignedTo(two), handed_broker_id: String(one) });
    await add(1, following());
    await update(two, { is_active: false }, true);
    const ids: Record<string, number> = { one, three };
    expect(await deleted(two, { reassign_to: String(ids[target] ?? target) })).toBe(count);
  });

  it('with force is also the devices that have not followed a move, and those that are left without a broker', async () => {
    await add(2, { mqtt_broker_id: String(one), handed_broker_id: String(two) });
    await add(3, following());
    expect(await deleted(two, { force: 'true' })).toBe(2);
    // Those of the first line are assigned to it, the others follow it.
    expect(await deleted(one, { force: 'true', reassign_to: 'default' })).toBe(5);
  });

  it('is null when they cannot be counted in time, and the broker is deleted', async () => {
    await add(1, following());
    const locked = berth.sql(`do $$ begin lock table devices in access exclusive mode; perform pg_sleep(2.2); end $$`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await deleted(two)).toBeNull();
    await locked;
  });
});

describe('a broker that has devices', () => {
  it('does not become inactive without force: 409 with their number, as a number and as text', async () => {
    await add(2, assignedTo(two));
    const refused = await update(two, { is_active: false });
    expect(refused).toMatchObject({
      status: 409,
      body: {
        success: false,
        code: 'broker-has-devices',
        devices_count: '2',
        devices_affected: 2,
        devices_resolved: 2,
        devices_former: 0,
      },
    });
    expect(refused.body.message).toContain('Devices that resolve to it: 2. ');
    expect(await berth.sql('select is_active from mqtt_broker_config where id = $1', [two])).toEqual([
      { is_active: true },
    ]);
    expect(await affected(two, { is_active: false }, true)).toBe(2);
  });

  it('because of a move that they have not followed, neither', async () => {
    await add(2, { mqtt_broker_id: String(one), handed_broker_id: String(two) });
    await add(1, { ...assignedTo(one), former_broker_ids: `array[${two}]`, former_until: "now() + interval '1 hour'" });
    expect(await update(two, { is_active: false })).toMatchObject({
      status: 409,
      body: { code: 'broker-has-devices', devices_affected: 3, devices_resolved: 0, devices_former: 3 },
    });
    expect(await affected(two, { close_former: true })).toBe(3);
    expect(await affected(two, { is_active: false }, false)).toBe(0);
  });

  it('because it was the default, and nobody knows what devices were handed, neither', async () => {
    await add(2, { handed_at: 'null' });
    await update(two, { is_default: true });
    expect(await update(one, { is_active: false })).toMatchObject({ status: 409, body: { devices_former: 2 } });
  });

  it('is told broker-needed when devices would have no other one', async () => {
    await add(2, following());
    await add(1, { mqtt_broker_id: String(two), handed_broker_id: String(one) });
    const refused = { status: 409, body: { code: 'broker-needed', devices_count: '2', devices_affected: 2 } };
    expect(await update(one, { is_active: false })).toMatchObject(refused);
    setEnv({ MQTT_BROKER_URL: 'mqtt://fallback:1883' });
    expect(await update(one, { is_active: false })).toMatchObject({
      status: 409,
      body: { code: 'broker-has-devices', devices_resolved: 2, devices_former: 1 },
    });
  });

  it('is told the number of its own devices, not of those that have no broker anyway', async () => {
    await update(one, { is_default: false }, true);
    await add(3, following());
    await add(1, assignedTo(two));
    const refused = { status: 409, body: { code: 'broker-needed', devices_affected: 1 } };
    expect(await update(two, { is_active: false })).toMatchObject(refused);
  });

  it('becomes inactive without force when it has none, and changes otherwise as ever', async () => {
    await add(2, following());
    expect((await update(two, { is_active: false })).status).toBe(200);
    expect((await update(one, { is_active: true, port: 1884 })).status).toBe(200);
    await add(2, assignedTo(two));
    expect((await update(two, { is_active: false, description: 'still inactive' })).status).toBe(200);
  });

  it('is not deleted: 409 with both forms of the number', async () => {
    await add(2, assignedTo(two));
    expect(await call(`DELETE ${path}/${two}`, { headers: admin })).toMatchObject({
      status: 409,
      body: { code: 'broker-in-use', devices_count: '2', devices_affected: 2 },
    });
  });
});
