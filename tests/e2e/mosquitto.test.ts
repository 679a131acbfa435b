import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { writeMosquittoFiles } from '../../tools/mosquitto-files.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';
import { type Authority, createAuthority } from '../support/certificates.ts';
import { connectDevice, refusalOf, type Settings } from '../support/device.ts';
import { describeInstalled } from '../support/installed.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { CHANGES, edit, PLACES } from '../support/moves.ts';
import { createProbeUser, giveProbeUser, testOf } from '../support/probe-user.ts';

/** Debian's Mosquitto, with files written from the database. */
describeInstalled('mosquitto', ['mosquitto'], ['mosquitto'], () => {
  let dir: string;
  let berth: Berth;
  let authority: Authority;
  let stranger: Authority;
  let first: Mosquitto;
  let second: Mosquitto;
  /** Ids of the broker rows: one for each listener of a Mosquitto. */
  let ids: Record<'tls' | 'mutual' | 'ws' | 'second', number>;
  let key: string;
  let device: ReturnType<typeof newDevice>;
  const open: MqttClient[] = [];

  beforeAll(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'berth-mosquitto-'));
    berth = await startBerth();
    [authority, stranger] = await Promise.all([createAuthority('Berth tests'), createAuthority('A stranger')]);
    first = await startMosquitto(path.join(dir, 'first'), authority);
    second = await startMosquitto(path.join(dir, 'second'), authority);
    const secured = { protocol: 'mqtts', host: '127.0.0.1', use_tls: true, ca_cert: authority.cert };
    ids = {
      tls: await addBroker(berth, { ...secured, port: first.ports.tls, is_default: true }),
      mutual: await addBroker(berth, { ...secured, port: first.ports.mutual }),
      ws: await addBroker(berth, { protocol: 'ws', host: '127.0.0.1', port: first.ports.ws }),
      second: await addBroker(berth, { ...secured, port: second.ports.tls }),
    };
    key = (await issueKey()).key;
  });
  afterAll(async () => {
    await Promise.all([first, second].map((one) => one?.end('SIGTERM')));
    await berth.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    device = newDevice();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.endAsync(true)));
  });

  const registered = async (of = device): Promise<Settings> => (await register(key, of)).body.mqtt;
  const current = async (): Promise<Settings> =>
    (
      await call(`GET /api/v1/device/${device.uuid}/mqtt`, {
        headers: { authorization: `Bearer ${device.deviceApiKey}` },
      })
    ).body;
  const move = (mqtt_broker_id: number) =>
    call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { mqtt_broker_id } });
  const connected = async (...args: Parameters<typeof connectDevice>) => {
    const client = await connectDevice(...args);
    open.push(client);
    return client;
  };
  const own = (rest: string) => `iot/device/${device.uuid}/${rest}`;

  it('a device connects over TLS with the settings that it received, and uses its own topic', async () => {
    const settings = await registered();
    expect(settings.broker).toBe(`mqtts://127.0.0.1:${first.ports.tls}`);
    await first.reload(berth.databaseUrl, ids.tls);
    const client = await connected(device.uuid, settings);
    await client.subscribeAsync(settings.topics.subscribe, { qos: 1 });
    await client.publishAsync(own('hello'), 'there', { qos: 1 });
    expect(await client.inbox.arrives(own('hello'))).toBe('there');
  });

  it('refuses a wrong password, another device’s name, and a client without credentials', async () => {
    const settings = await registered();
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
    expect(await refusalOf(device.uuid, { ...settings, password: 'wrong' })).toMatch(/not authorized/i);
    expect(await refusalOf(device.uuid, { ...settings, username: 'device_other' })).toMatch(/not authorized/i);
    const anonymous = { username: undefined, password: undefined } as never;
    expect(await refusalOf(device.uuid, settings, anonymous)).toMatch(/not authorized/i);
  });

  it('refuses publishing to another device’s topics, and delivers nothing from them', async () => {
    const victim = newDevice();
    const [mine, theirs] = [await registered(), await registered(victim)];
    await first.reload(berth.databaseUrl, ids.tls);
    const client = await connected(device.uuid, mine, { protocolVersion: 5 });
    const other = await connected(victim.uuid, theirs);
    const foreign = (rest: string) => `iot/device/${victim.uuid}/${rest}`;
    await other.subscribeAsync(foreign('#'), { qos: 1 });
    await client.subscribeAsync(own('#'), { qos: 1 });
    // Mosquitto's ACL file does not refuse subscriptions. It withholds messages.
    await client.subscribeAsync([foreign('#'), 'iot/#', '#'], { qos: 1 });

    await expect(client.publishAsync(foreign('command'), 'open', { qos: 1 })).rejects.toThrow(/not authorized/i);
    await other.publishAsync(foreign('state'), 'secret', { qos: 1 });
    expect(await other.inbox.arrives(foreign('state'))).toBe('secret');
    await client.publishAsync(own('last'), 'mine', { qos: 1 });
    await client.inbox.arrives(own('last'));
    expect(client.inbox.topics()).toEqual([own('last')]);
    expect(other.inbox.topics()).toEqual([foreign('state')]);
  });

  it('a device refuses a broker whose certificate comes from another CA', async () => {
    await registered();
    await first.reload(berth.databaseUrl, ids.tls);
    await berth.sql('update mqtt_broker_config set ca_cert = $1 where id = $2', [stranger.cert, ids.tls]);
    const refusal = await refusalOf(device.uuid, await current());
    await berth.sql('update mqtt_broker_config set ca_cert = $1 where id = $2', [authority.cert, ids.tls]);
    expect(refusal).toMatch(/unable to verify|self-signed certificate/);
    expect(await refusalOf(device.uuid, await current())).toBe('connected');
  });

  it('mutual TLS requires a certificate of the broker’s CA and the password', async () => {
    await registered();
    await move(ids.mutual);
    const settings = await current();
    expect(settings.broker).toBe(`mqtts://127.0.0.1:${first.ports.mutual}`);
    await first.reload(berth.databaseUrl, ids.mutual);
    const commonName = device.uuid;
    const [right, wrong] = await Promise.all([authority.issue({ commonName }), stranger.issue({ commonName })]);
    expect(await refusalOf(device.uuid, settings)).not.toBe('connected');
    expect(await refusalOf(device.uuid, settings, wrong)).not.toBe('connected');
    expect(await refusalOf(device.uuid, { ...settings, password: 'wrong' }, right)).toMatch(/not authorized/i);
    expect(await refusalOf(device.uuid, settings, right)).toBe('connected');
  });

  it('a device connects over WebSockets', async () => {
    await registered();
    await move(ids.ws);
    const settings = await current();
    expect(settings.broker).toBe(`ws://127.0.0.1:${first.ports.ws}`);
    await first.reload(berth.databaseUrl, ids.ws);
    const client = await connected(device.uuid, settings);
    await client.subscribeAsync(settings.topics.subscribe);
    await client.publishAsync(own('hello'), 'there');
    expect(await client.inbox.arrives(own('hello'))).toBe('there');
  });

  it('after a move both Mosquittos accept the device; once the grace period has passed, the old one disconnects and refuses it', async () => {
    const before = await registered();
    await first.reload(berth.databaseUrl, ids.tls);
    await second.reload(berth.databaseUrl, ids.second);
    const client = await connected(device.uuid, before);
    expect(await refusalOf(device.uuid, { ...before, broker: `mqtts://127.0.0.1:${second.ports.tls}` })).not.toBe(
      'connected',
    );
    const closed = new Promise((resolve) => client.once('close', () => resolve('closed')));
    expect((await move(ids.second)).status).toBe(200);
    const after = await current();
    expect(after).toMatchObject({ broker: `mqtts://127.0.0.1:${second.ports.tls}`, password: before.password });
    await first.reload(berth.databaseUrl, ids.tls);
    await second.reload(berth.databaseUrl, ids.second);
    expect(await refusalOf(device.uuid, { ...before }, { clientId: before.username })).toBe('connected');
    expect(await refusalOf(device.uuid, after)).toBe('connected');
    expect(client.connected).toBe(true);
    await berth.sql('update devices set former_until = now() where uuid = $1', [device.uuid]);
    await first.reload(berth.databaseUrl, ids.tls);
    await second.reload(berth.databaseUrl, ids.second);
    expect(await closed).toBe('closed');
    expect(await refusalOf(device.uuid, before)).toMatch(/not authorized/i);
    expect(await refusalOf(device.uuid, after)).toBe('connected');
  });

  it.each(PLACES)('%s: a device that never polls is %s, one that polls is %s', async (change, never, polls) => {
    const secured = { protocol: 'mqtts', host: '127.0.0.1', use_tls: true, ca_cert: authority.cert };
    const here = await addBroker(berth, { ...secured, port: first.ports.tls });
    const there = await addBroker(berth, { ...secured, port: second.ports.tls });
    if (change === 'default') await edit(here, { is_default: true });
    const { key: own } = await issueKey(change === 'default' ? {} : { default_broker_id: here });
    const before: Settings = (await register(own, device)).body.mqtt;
    const reload = () => Promise.all([first.reload(berth.databaseUrl, here), second.reload(berth.databaseUrl, there)]);
    const place = async (settings: Settings) => {
      await reload();
      if ((await refusalOf(device.uuid, settings)) !== 'connected') return 'offline';
      return settings.broker.endsWith(`:${first.ports.tls}`) ? 'here' : 'there';
    };
    expect((await CHANGES[change]?.(device.uuid, here, there))?.status).toBe(200);
    expect(await place(before)).toBe(never);
    const after = await current();
    expect(await place(after)).toBe(polls);
    if (change !== 'delete') expect(await place(before), 'the reply was lost').toBe('here');
    await edit(ids.tls, { is_default: true });
  });

  it('new files refuse an inactive device, and the old password after a rotation', async () => {
    const settings = await registered();
    await call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { is_active: false } });
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await refusalOf(device.uuid, settings)).toMatch(/not authorized/i);
    // The legacy service deactivated devices without their users.
    await berth.sql('update mqtt_users set is_active = true where username = $1', [settings.username]);
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await refusalOf(device.uuid, settings)).toMatch(/not authorized/i);
    await call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { is_active: true } });
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await refusalOf(device.uuid, settings)).toBe('connected');
    await call(`POST /api/v1/devices/${device.uuid}/rotate-credentials`, { headers: admin });
    const rotated = await current();
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await refusalOf(device.uuid, settings)).toMatch(/not authorized/i);
    expect(await refusalOf(device.uuid, rotated)).toBe('connected');
  });

  it('the probe user: the test finds no credentials, then reaches the broker, and the user may do nothing there', async () => {
    setEnv({ BERTH_STAGE: 'local', BERTH_SEAL_KEY: Buffer.alloc(32, 1).toString('base64') });
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await testOf(ids.tls)).toMatchObject({ reachable: false, problem: 'no-credentials' });
    const probe = createProbeUser(berth.databaseUrl);
    await giveProbeUser(ids.tls, probe);
    expect(await testOf(ids.tls)).toMatchObject({ reachable: false, problem: 'not-authorised' });
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await testOf(ids.tls)).toMatchObject({ reachable: true, connack: { reasonCode: 0 } });

    const settings = await registered();
    await first.reload(berth.databaseUrl, ids.tls);
    const other = await connected(device.uuid, settings);
    const as = { clientId: probe.username, protocolVersion: 5 } as const;
    const client = await connected('', { ...settings, ...probe }, as);
    await client.subscribeAsync('#', { qos: 1 });
    await expect(client.publishAsync(own('command'), 'open', { qos: 1 })).rejects.toThrow(/not authorized/i);
    await other.publishAsync(own('state'), 'secret', { qos: 1 });
    await expect(client.publishAsync('berth-probe', '', { qos: 1 })).rejects.toThrow(/not authorized/i);
    expect(client.inbox.topics()).toEqual([]);

    const next = createProbeUser(berth.databaseUrl);
    await first.reload(berth.databaseUrl, ids.tls);
    expect(await testOf(ids.tls)).toMatchObject({ reachable: false, problem: 'not-authorised' });
    await giveProbeUser(ids.tls, next);
    expect(await testOf(ids.tls)).toMatchObject({ reachable: true });
    setEnv({});
  });

  it('writes access bits as words, leaves out and reports what the files cannot contain', async () => {
    const settings = await registered();
    const [row] = await berth.sql('select password_hash from mqtt_users where username = $1', [settings.username]);
    const names = ['colon:name', 'line\nuser device_x', ' blank', '#comment', 'bcrypt', 'service', 'super'];
    for (const name of names) {
      const hash = name === 'bcrypt' ? '$2b$04$abcdefghijklmnopqrstuv' : row?.password_hash;
      await berth.sql('insert into mqtt_users (username, password_hash, is_superuser) values ($1, $2, $3)', [
        name,
        hash,
        name === 'super',
      ]);
    }
    for (const [topic, access] of [
      ['r/#', 1],
      ['w/#', 2],
      ['s/#', 4],
      ['rs/#', 5],
      ['ws/#', 6],
      ['all/#', 7],
      ['x\ntopic readwrite #', 7],
    ]) {
      await berth.sql(`insert into mqtt_acls (username, topic, access) values ('service', $1, $2)`, [topic, access]);
    }
    const { leftOut } = await writeMosquittoFiles({ databaseUrl: berth.databaseUrl, dir });
    await berth.sql('delete from mqtt_users where username = any($1)', [names]);
    expect(leftOut.sort()).toEqual([' blank', '#comment', 'bcrypt', 'colon:name', 'line\nuser device_x']);
    const acls = readFileSync(path.join(dir, 'acls'), 'utf8');
    expect(acls).toContain(
      'user service\ntopic write w/#\ntopic read rs/#\ntopic write ws/#\ntopic readwrite all/#\n\nuser super\ntopic readwrite #\n',
    );
    expect(acls).toContain(`user ${settings.username}\ntopic readwrite iot/device/${device.uuid}/#\n`);
    expect(readFileSync(path.join(dir, 'passwords'), 'utf8')).toMatch(
      new RegExp(`^${settings.username}:\\$7\\$100\\$[A-Za-z0-9+/]{16}\\$[A-Za-z0-9+/]{86}==$`, 'm'),
    );
  });
});
