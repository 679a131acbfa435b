import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
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
import { type Gateway, startGateway } from '../support/gateway.ts';
import { describeInstalled } from '../support/installed.ts';
import { CHANGES, edit } from '../support/moves.ts';
import { createProbeUser, giveProbeUser, testOf } from '../support/probe-user.ts';
import { type RabbitMq, startRabbitMq } from '../support/rabbitmq.ts';

const SECRET = 'secret-of-the-brokers';
/** The error of mqtt.js for CONNACK 4 or 5. */
const REFUSED = /Bad username or password|Not authorized/i;

/** Debian's RabbitMQ, which asks Berth about every user, virtual host, queue and topic. */
describeInstalled('rabbitmq', ['rabbitmq-server', 'epmd'], ['rabbitmq-server'], () => {
  let dir: string;
  let berth: Berth;
  let gateway: Gateway;
  let rabbit: RabbitMq;
  let here: number;
  let elsewhere: number;
  let key: string;
  let device: ReturnType<typeof newDevice>;
  const open: MqttClient[] = [];

  beforeAll(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'berth-rabbitmq-'));
    berth = await startBerth({ env: { BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) } });
    here = await addBroker(berth, { host: '127.0.0.1', port: 1, is_default: true, client_id_prefix: 'fleet' });
    elsewhere = await addBroker(berth, { host: '127.0.0.1', port: 1 });
    gateway = await startGateway();
    rabbit = await startRabbitMq(dir, `${gateway.url}/api/v1/mqtt/auth`, `broker=${here}&secret=${SECRET}`);
    await berth.sql('update mqtt_broker_config set port = $1', [rabbit.port]);
    key = (await issueKey()).key;
  });
  afterAll(async () => {
    await rabbit?.stop();
    await gateway.close();
    await berth.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    device = newDevice();
    gateway.requests.length = 0;
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.endAsync(true)));
  });

  const registered = async (of = device): Promise<Settings> => (await register(key, of)).body.mqtt;
  const connected = async (...args: Parameters<typeof connectDevice>) => {
    const client = await connectDevice(...args);
    open.push(client);
    return client;
  };
  const own = (rest: string) => `iot/device/${device.uuid}/${rest}`;
  const closedBy = (client: MqttClient) =>
    new Promise<string>((resolve) => client.once('close', () => resolve('closed')));

  it('a registered device connects with its settings, publishes and subscribes on its own topic', async () => {
    const settings = await registered();
    expect(settings.broker).toBe(`mqtt://127.0.0.1:${rabbit.port}`);
    const client = await connected(device.uuid, settings);
    expect(await client.subscribeAsync(settings.topics.subscribe, { qos: 1 })).toMatchObject([{ qos: 1 }]);
    await client.publishAsync(own('hello'), 'there', { qos: 1 });
    expect(await client.inbox.arrives(own('hello'))).toBe('there');
    const answers = new Set(gateway.requests.map((line) => line.replace('/api/v1/mqtt/auth/', '')));
    expect(answers).toEqual(new Set(['user allow', 'vhost allow', 'resource allow', 'topic allow']));
  });

  it('a uuid with a colon works, although RabbitMQ by default ends a virtual host there', async () => {
    device = newDevice({ uuid: `plant:${device.uuid}` });
    const settings = await registered();
    const client = await connected(device.uuid, settings);
    await client.subscribeAsync(settings.topics.subscribe);
    await client.publishAsync(own('hello'), 'there');
    expect(await client.inbox.arrives(own('hello'))).toBe('there');
  });

  it('refused: wrong password, another username, another device’s client id', async () => {
    const victim = newDevice();
    const [settings] = [await registered(), await registered(victim)];
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
    expect(await refusalOf(device.uuid, { ...settings, password: 'wrong' })).toMatch(REFUSED);
    expect(await refusalOf(device.uuid, { ...settings, username: 'device_other' })).toMatch(REFUSED);
    expect(await refusalOf(victim.uuid, settings)).toMatch(REFUSED);
    expect(gateway.requests.filter((line) => line.endsWith('user deny'))).toHaveLength(3);
  });

  it('another device’s topics: publishing closes the connection; subscribing is refused and receives nothing', async () => {
    const victim = newDevice();
    const [mine, theirs] = [await registered(), await registered(victim)];
    const foreign = (rest: string) => `iot/device/${victim.uuid}/${rest}`;
    const other = await connected(victim.uuid, theirs);
    await other.subscribeAsync(foreign('#'), { qos: 1 });

    const publisher = await connected(device.uuid, mine);
    const cutOff = closedBy(publisher);
    publisher.publishAsync(foreign('command'), 'open', { qos: 1 }).catch(() => {});
    expect(await cutOff).toBe('closed');

    for (const filter of [foreign('#'), 'iot/#', '#', 'iot/device/+/state', `iot/device/*/state`]) {
      const subscriber = await connected(device.uuid, mine);
      const ended = closedBy(subscriber);
      const granted = subscriber.subscribeAsync(filter, { qos: 0 }).catch(() => []);
      const outcome = await Promise.race([ended, granted.then((grants) => String(grants[0]?.qos))]);
      expect(['closed', '128'], filter).toContain(outcome);
      await other.publishAsync(foreign('state'), 'secret', { qos: 1 });
      expect(subscriber.inbox.topics(), filter).toEqual([]);
    }
    expect(await other.inbox.arrives(foreign('state'))).toBe('secret');
    expect(other.inbox.topics()).toEqual([foreign('state')]);
  });

  it('a persistent session receives messages that were sent while it was disconnected', async () => {
    const settings = await registered();
    const lasting = { clean: false };
    const before = await connected(device.uuid, settings, lasting);
    await before.subscribeAsync(own('#'), { qos: 1 });
    await before.endAsync();
    const sender = await connected(device.uuid, settings, { clientId: settings.username });
    await sender.publishAsync(own('later'), 'kept', { qos: 1 });
    const after = await connected(device.uuid, settings, lasting);
    expect(await after.inbox.arrives(own('later'))).toBe('kept');
  });

  it('accepted after a move that it does not follow, refused once it was handed another broker and has logged in there', async () => {
    const settings = await registered();
    const move = (mqtt_broker_id: number | null) =>
      call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { mqtt_broker_id } });
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
    expect((await move(elsewhere)).status).toBe(200);
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
    await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(device.deviceApiKey) });
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
    const { username, password } = settings;
    await call('POST /api/v1/mqtt/auth/user', {
      headers: bearer(SECRET),
      query: { broker: String(elsewhere) },
      body: { username, password },
    });
    expect(await refusalOf(device.uuid, settings)).toMatch(REFUSED);
    expect((await move(null)).status).toBe(200);
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
  });

  it.each(['PUT', 'bulk-assign', 'default', 'edit'])(
    'accepted: a device that never polls, after %s; refused after close_former, unless it is still here',
    async (change) => {
      const settings = await registered();
      expect((await CHANGES[change]?.(device.uuid, here, elsewhere))?.status).toBe(200);
      expect(await refusalOf(device.uuid, settings)).toBe('connected');
      await edit(here, { close_former: true });
      const isThere = change === 'edit' ? 'connected' : expect.stringMatching(REFUSED);
      expect(await refusalOf(device.uuid, settings)).toEqual(isThere);
      await edit(here, { is_default: true, client_id_prefix: 'fleet' });
    },
  );

  it('refused: an inactive device', async () => {
    const settings = await registered();
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
    const changed = await call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { is_active: false } });
    expect(changed.status).toBe(200);
    expect(await refusalOf(device.uuid, settings)).toMatch(REFUSED);
  });

  it('the probe user: the test finds no credentials, then reaches the broker, and the user may do nothing there', async () => {
    const secret = { BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) };
    setEnv({ ...secret, BERTH_STAGE: 'local', BERTH_SEAL_KEY: Buffer.alloc(32, 1).toString('base64') });
    expect(await testOf(here)).toMatchObject({ reachable: false, problem: 'no-credentials' });
    const probe = createProbeUser(berth.databaseUrl);
    await giveProbeUser(here, probe);
    expect(await testOf(here)).toMatchObject({ reachable: true, connack: { reasonCode: 0 } });

    const settings = await registered();
    const client = () => connected('', { ...settings, ...probe }, { clientId: probe.username });
    const publisher = await client();
    const cutOff = closedBy(publisher);
    publisher.publishAsync(own('command'), 'open', { qos: 1 }).catch(() => {});
    expect(await cutOff).toBe('closed');
    const subscriber = await client();
    const ended = closedBy(subscriber);
    const granted = subscriber.subscribeAsync('#', { qos: 0 }).then(([grant]) => String(grant?.qos));
    expect(['closed', '128']).toContain(await Promise.race([ended, granted.catch(() => 'closed')]));
    expect(await refusalOf(device.uuid, { ...settings, ...probe })).toMatch(REFUSED);

    const next = createProbeUser(berth.databaseUrl);
    expect(await testOf(here)).toMatchObject({ reachable: false, problem: 'wrong-credentials' });
    await giveProbeUser(here, next);
    expect(await testOf(here)).toMatchObject({ reachable: true });
    setEnv(secret);
  });

  it('refused: the broker’s secret is wrong (401) or not configured in Berth (403)', async () => {
    const settings = await registered();
    setEnv({ BROKER_AUTH_SECRET_HASH: sha256Hex('another') });
    expect(await refusalOf(device.uuid, settings)).toMatch(REFUSED);
    expect(gateway.requests).toContain('/api/v1/mqtt/auth/user 401');
    setEnv({});
    expect(await refusalOf(device.uuid, settings)).toMatch(REFUSED);
    expect(gateway.requests).toContain('/api/v1/mqtt/auth/user 403');
    setEnv({ BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) });
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
  });

  // The last test: the broker's row is gone.
  it('refused: a device whose broker was deleted', async () => {
    const settings = await registered();
    expect((await CHANGES.delete?.(device.uuid, here, elsewhere))?.status).toBe(409);
    const query = { reassign_to: String(elsewhere), force: 'true' };
    expect((await call(`DELETE /api/v1/mqtt/brokers/${here}`, { headers: admin, query })).status).toBe(200);
    expect(await refusalOf(device.uuid, settings)).toMatch(REFUSED);
  });
});
