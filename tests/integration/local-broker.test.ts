import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Broker, startBroker } from '../../local/mqtt-broker.ts';
import { addBroker, issueKey, newDevice, register, useBerth } from '../support/berth.ts';
import { connectDevice, refusalOf, type Settings } from '../support/device.ts';

/** The MQTT brokers of `npm start`. */
const berth = useBerth();
const refusals: string[] = [];
let broker: Broker;
let key: string;
beforeAll(async () => {
  await berth.sql('update mqtt_broker_config set is_default = false');
  const id = await addBroker(berth, { is_default: true, host: '127.0.0.1', port: 1, client_id_prefix: 'fleet' });
  broker = await startBroker({ port: 0, id, databaseUrl: berth.databaseUrl, log: (line) => refusals.push(line) });
  await berth.sql('update mqtt_broker_config set port = $1 where id = $2', [broker.port, id]);
  key = (await issueKey()).key;
});
afterAll(() => broker.close());

async function registered(): Promise<{ uuid: string; mqtt: Settings }> {
  const { uuid, mqtt } = (await register(key, newDevice())).body;
  return { uuid, mqtt };
}

it('accepts a device with its username or prefix_uuid as client id', async () => {
  const { uuid, mqtt } = await registered();
  expect(await refusalOf(uuid, mqtt)).toBe('connected');
  expect(await refusalOf(uuid, mqtt, { clientId: mqtt.username })).toBe('connected');
});

it('refuses a device with the client id of another one, which keeps its connection and its messages', async () => {
  const victim = await registered();
  const thief = await registered();
  const session = { clean: false };
  const client = await connectDevice(victim.uuid, victim.mqtt, session);
  await client.subscribeAsync(`iot/device/${victim.uuid}/#`, { qos: 1 });
  for (const clientId of [`fleet_${victim.uuid}`, victim.mqtt.username]) {
    expect(await refusalOf(thief.uuid, thief.mqtt, { ...session, clientId })).toMatch(/Identifier rejected/);
  }
  expect(refusals.at(-1)).toBe(`refused ${thief.mqtt.username}: the client id is not one of this user`);
  expect(broker.clients()).toEqual([victim.mqtt.username]);
  await client.publishAsync(`iot/device/${victim.uuid}/state`, 'mine', { qos: 1 });
  expect(await client.inbox.arrives(`iot/device/${victim.uuid}/state`)).toBe('mine');
  await client.endAsync();
});

it('sends a packet without waiting for the acknowledgement of its first part', async () => {
  const { uuid, mqtt } = await registered();
  const client = await connectDevice(uuid, mqtt);
  (client.stream as Socket).setNoDelay(true);
  await client.subscribeAsync(`iot/device/${uuid}/#`, { qos: 1 });
  const times: number[] = [];
  for (let n = 0; n < 11; n++) {
    const begin = performance.now();
    const { promise: arrived, resolve } = Promise.withResolvers<unknown>();
    client.once('message', resolve);
    await client.publishAsync(`iot/device/${uuid}/state`, String(n), { qos: 1 });
    await arrived;
    times.push(performance.now() - begin);
    await sleep(20);
  }
  expect(times.sort((a, b) => a - b)[5]).toBeLessThan(20);
  await client.endAsync();
});

it('refuses an MQTT 5 client with the code that says so', async () => {
  const { uuid, mqtt } = await registered();
  expect(await refusalOf(uuid, mqtt, { protocolVersion: 5 })).toMatch(/Unacceptable protocol version/);
});

it('refuses a made-up or missing client id', async () => {
  const { uuid, mqtt } = await registered();
  for (const clientId of ['mover', `berth_${uuid}`, '']) {
    expect(await refusalOf(uuid, mqtt, { clientId }), clientId).toMatch(/Identifier rejected/);
  }
});

it('a wrong password is refused as such, whatever the client id is', async () => {
  const { uuid, mqtt } = await registered();
  expect(await refusalOf(uuid, mqtt, { password: 'wrong', clientId: 'mover' })).toMatch(/Bad username or password/i);
});
