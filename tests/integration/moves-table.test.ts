import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { type Broker, startBroker } from '../../local/mqtt-broker.ts';
import { writeMosquittoFiles } from '../../tools/mosquitto-files.ts';
import { call } from '../support/api.ts';
import {
  addBroker,
  admin,
  type Berth,
  bearer,
  issueKey,
  newDevice,
  register,
  setEnv,
  startBerth,
} from '../support/berth.ts';
import { connectDevice, refusalOf, type Settings } from '../support/device.ts';
import { CHANGES, edit, PLACES } from '../support/moves.ts';

/**
 * The table: a device that polls or never polls × what happens × how its broker learns who may connect. A device uses the
 * settings that it received last. It is `here` (the broker that it had), `there` (the new one), or `offline`.
 */
const SECRET = 'secret-of-the-brokers';
let berth: Berth;
let dir: string;
beforeAll(async () => {
  berth = await startBerth({ env: { BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET), BERTH_STAGE: 'local' } });
  setEnv({ BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET), BERTH_STAGE: 'local' });
  dir = mkdtempSync(path.join(tmpdir(), 'berth-table-'));
});
afterAll(async () => {
  await berth.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Starts a broker of the local stack and adds its row. */
async function startLocal(columns: Record<string, unknown> = {}): Promise<{ id: number; broker: Broker }> {
  const id = await addBroker(berth, { host: '127.0.0.1', port: 1, ...columns });
  const broker = await startBroker({ port: 0, id, databaseUrl: berth.databaseUrl, recheckMs: 50 });
  await berth.sql('update mqtt_broker_config set port = $1 where id = $2', [broker.port, id]);
  return { id, broker };
}

/** Whether the broker `id` accepts the client, by each of the four ways. */
const WAYS: Record<string, (id: number, mqtt: Settings, clientId: string) => Promise<boolean>> = {
  files: async (brokerId, { username }) => {
    await writeMosquittoFiles({ databaseUrl: berth.databaseUrl, dir, brokerId });
    return readFileSync(path.join(dir, 'passwords'), 'utf8').includes(`${username}:`);
  },
  callbacks: async (id, { username, password }, client_id) =>
    (
      await call('POST /api/v1/mqtt/auth/user', {
        headers: bearer(SECRET),
        query: { broker: String(id) },
        body: { username, password, client_id },
      })
    ).body.result === 'allow',
  view: async (id, { username }, clientId) =>
    (
      await berth.sql(
        `select from mqtt_broker_users where username = $1 and coalesce(broker_id, $2) = $2 and $3 = any(client_ids)`,
        [username, id, clientId],
      )
    ).length === 1,
};

/** Registers a device at a new broker, lets the operator act, and finds out where the device is. */
async function placeAfter(change: string, polls: boolean, close: object): Promise<Record<string, string>> {
  const [here, there] = [await startLocal({ is_active: true }), await startLocal()];
  const follows = change === 'default';
  if (follows) await edit(here.id, { is_default: true });
  const device = newDevice();
  const { key } = await issueKey(follows ? {} : { default_broker_id: here.id });
  let { mqtt } = (await register(key, device)).body as { mqtt: Settings };
  const first = mqtt;
  expect(await refusalOf(device.uuid, mqtt)).toBe('connected');
  const changed = (await (CHANGES[change] as (typeof CHANGES)[string])(device.uuid, here.id, there.id, close)) as {
    status: number;
    text: string;
  };
  expect(changed.status, changed.text).toBe(200);
  const found: Record<string, string> = {};
  if (polls) {
    const headers = bearer(device.deviceApiKey);
    mqtt = (await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers })).body as Settings;
  }
  const target = mqtt.broker.endsWith(`:${here.broker.port}`) ? here : there;
  const place = target === here ? 'here' : 'there';
  const clientId = `${mqtt.brokerConfig.clientIdPrefix}_${device.uuid}`;
  // The embedded broker of a deleted row still runs, as a broker whose machine was not switched off does.
  for (const [way, accepts] of Object.entries(WAYS)) {
    // A file holds no client id: Mosquitto uses the username.
    found[way] = (await accepts(target.id, mqtt, clientId)) ? place : 'offline';
  }
  found.local = (await refusalOf(device.uuid, mqtt)) === 'connected' ? place : 'offline';
  // Once the device has logged in at the new broker, only this one accepts it.
  if (place === 'there') expect(await refusalOf(device.uuid, first)).not.toBe('connected');
  await Promise.all([here.broker.close(), there.broker.close()]);
  return found;
}

const everywhere = (place: string) => ({ files: place, callbacks: place, view: place, local: place });

describe('without close_former no client is offline, unless its broker is deleted', () => {
  it.each(PLACES)('%s: a device that never polls is %s, one that polls is %s', async (change, never, polls) => {
    expect(await placeAfter(change, false, {})).toEqual(everywhere(never));
    expect(await placeAfter(change, true, {})).toEqual(everywhere(polls));
  });
});

const CLOSING = ['PUT', 'bulk-assign', 'default'];

it('docs/operations.md has this table', () => {
  const document = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  const [, table = ''] = /\| a device that polls \|\n.*?\n(.*?)\n\n/s.exec(document) ?? [];
  const rows = [...table.matchAll(/^\| (.*) \| (\w+) \| (\w+) \|$/gm)].map(([, change = '', ...places]) => [
    change.includes('close_former') ? change : change.split(/\W? /)[0],
    ...places,
  ]);
  expect(rows).toEqual([...PLACES, [`${CLOSING.join(', ')} with \`close_former\``, 'offline', 'there']]);
});

describe('with close_former a device that never polls is offline', () => {
  it.each(CLOSING)('%s', async (change) => {
    expect(await placeAfter(change, false, { close_former: true })).toEqual(everywhere('offline'));
    expect(await placeAfter(change, true, { close_former: true })).toEqual(everywhere('there'));
  });
});

it('a local broker keeps a moved client connected, and disconnects it when close_former ends its permission', async () => {
  const [here, there] = [await startLocal(), await startLocal()];
  const device = newDevice();
  const { key } = await issueKey({ default_broker_id: here.id });
  const { mqtt } = (await register(key, device)).body;
  const client = await connectDevice(device.uuid, mqtt);
  const closed = new Promise((resolve) => client.once('close', () => resolve('closed')));
  const put = (body: object) => call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body });
  await put({ mqtt_broker_id: there.id });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(client.connected).toBe(true);
  await put({ close_former: true });
  expect(await closed).toBe('closed');
  await Promise.all([here.broker.close(), there.broker.close()]);
});
