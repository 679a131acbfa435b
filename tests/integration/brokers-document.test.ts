import { pbkdf2Sync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { compare } from 'bcryptjs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { verifyMqttPassword } from '../../lib/crypto/mqtt-password.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';

/** Runs the SQL of docs/brokers.md, the queries in its configurations too, as the role that it makes. */
const document = readFileSync(new URL('../../docs/brokers.md', import.meta.url), 'utf8');
const SECRET = 'secret-of-the-brokers';
let berth: Berth;
let broker: pg.Client;
let here: number;
let elsewhere: number;
/** What a device connects with, by how it came to its broker. */
const logins: Record<string, { uuid: string; username: string; password: string }> = {};

beforeAll(async () => {
  berth = await startBerth({ env: { BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) } });
  here = await addBroker(berth, { is_default: true, client_id_prefix: 'fleet' });
  elsewhere = await addBroker(berth);
  const inactive = await addBroker(berth, { is_active: false });
  const { key } = await issueKey();
  const keyed = (await issueKey({ default_broker_id: elsewhere })).key;
  const add = async (name: string, change = '', withKey = key, fields = {}) => {
    const device = newDevice(fields);
    const { mqtt } = (await register(withKey, device)).body;
    logins[name] = { uuid: device.uuid, username: mqtt.username, password: mqtt.password };
    if (change) await berth.sql(`update devices set ${change} where uuid = $1`, [device.uuid]);
  };
  await add('unassigned');
  await add('assigned here', `mqtt_broker_id = ${here}`);
  await add('assigned elsewhere', `mqtt_broker_id = ${elsewhere}, handed_broker_id = ${elsewhere}`);
  await add('moved elsewhere, does not follow', `mqtt_broker_id = ${elsewhere}`);
  await add('of an inactive broker', `mqtt_broker_id = ${inactive}`);
  await add('by its key', 'mqtt_broker_id = null', keyed);
  await add('inactive', 'is_active = false');
  await add('with another spelling', `mqtt_broker_id = ${elsewhere}, handed_broker_id = ${elsewhere}`, key, {
    uuid: 'Pump-7',
  });
  await add('spelt almost alike', '', key, { uuid: 'pump-7' });
  await add('spelt by the legacy service', `mqtt_broker_id = ${elsewhere}, handed_broker_id = ${elsewhere}`);
  const legacy = logins['spelt by the legacy service'] as { uuid: string; username: string };
  const spelt = `device_${legacy.uuid.toUpperCase()}`;
  await berth.sql('update devices set mqtt_username = $1 where uuid = $2', [spelt, legacy.uuid]);
  await berth.sql('update mqtt_users set username = $1 where username = $2', [spelt, legacy.username]);
  legacy.username = spelt;
  setEnv({ MQTT_PASSWORD_HASH: 'bcrypt', BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) });
  await add('with bcrypt');
  await runBlocks();
});
afterAll(async () => {
  await broker.end();
  await berth.stop();
  // Roles are the server's, and outlive the database.
  const server = new pg.Client({ connectionString: new URL('/postgres', berth.databaseUrl).href });
  await server.connect();
  await server.query(`drop role ${ROLE}`);
  await server.end();
});

const ROLE = `mqtt_broker_${process.pid}`;
/** For broker 7 of the document, the broker here; the role under another name, the server being shared. */
const ours = (sql: string) =>
  sql.replaceAll('broker_id, 7) = 7', `broker_id, ${here}) = ${here}`).replaceAll(/\bmqtt_broker\b/g, ROLE);

async function runBlocks(): Promise<void> {
  const blocks = [...document.matchAll(/^```sql\n(.*?)^```/gms)].map((match) => match[1] as string);
  expect(blocks).toHaveLength(3);
  for (const block of blocks) await berth.sql(ours(block));
  const url = new URL(berth.databaseUrl);
  Object.assign(url, { username: ROLE, password: 'change-me' });
  broker = new pg.Client({ connectionString: url.href });
  await broker.connect();
}

/** The query of a setting, with EMQX's placeholders `${username}` for `$1` and `${clientid}` for `$2`. */
function setting(pattern: RegExp): string {
  const query = pattern.exec(document)?.[1] as string;
  return ours(query.replaceAll(/\$\{username\}/g, '$1').replaceAll(/\$\{clientid\}/g, '$2'));
}
const rows = async (query: string, values: unknown[]) => (await broker.query(query, values)).rows;
const answerByHttp = async ({ username, password }: { username: string; password: string }) =>
  (
    await call('POST /api/v1/mqtt/auth/user', {
      headers: { authorization: `Bearer ${SECRET}` },
      query: { broker: String(here) },
      body: { username, password },
    })
  ).body.result;
const names = [
  'moved elsewhere, does not follow',
  ...['unassigned', 'assigned here', 'assigned elsewhere', 'of an inactive broker', 'by its key', 'inactive'],
  ...['with another spelling', 'spelt almost alike', 'spelt by the legacy service', 'with bcrypt'],
];
const login = (name: string) => logins[name] as { uuid: string; username: string; password: string };

describe('the statements of docs/brokers.md decide like the HTTP callbacks', () => {
  it('both outcomes occur: some devices are accepted and some are refused', async () => {
    const answers = await Promise.all(names.map((name) => answerByHttp(login(name))));
    expect(Object.fromEntries(names.map((name, index) => [name, answers[index]]))).toEqual({
      unassigned: 'allow',
      'assigned here': 'allow',
      'assigned elsewhere': 'deny',
      'moved elsewhere, does not follow': 'allow',
      'of an inactive broker': 'allow',
      'by its key': 'deny',
      inactive: 'deny',
      'with another spelling': 'deny',
      'spelt almost alike': 'allow',
      'spelt by the legacy service': 'deny',
      'with bcrypt': 'allow',
    });
  });

  it.each(names)('mosquitto-go-auth decides like the callback: device %s', async (name) => {
    const { username, password } = login(name);
    const [row] = await rows(setting(/^auth_opt_pg_userquery (.*)$/m), [username]);
    expect(row ? 'allow' : 'deny').toBe(await answerByHttp(login(name)));
    if (row) expect(await verifyMqttPassword(password, row.password_hash)).toBe(true);
  });

  it.each(names.filter((name) => name !== 'with bcrypt'))('EMQX decides like the callback: device %s', async (name) => {
    const { username, password } = login(name);
    const found = (clientId: string) => rows(setting(/query = "(select key .*)"$/m), [username, clientId]);
    const [row] = await found(username);
    expect(row ? 'allow' : 'deny').toBe(await answerByHttp(login(name)));
    const [other] = names.filter((otherName) => otherName !== name);
    for (const id of [login(other as string).username, `fleet_${login(other as string).uuid}`, '']) {
      expect(await found(id)).toEqual([]);
    }
    if (row) expect(await found(`fleet_${login(name).uuid}`)).toEqual([row]);
    if (row) expect(pbkdf2Sync(password, row.salt, 100, 64, 'sha512').toString('hex')).toBe(row.password_hash);
  });

  it('VerneMQ accepts a device with a bcrypt hash under its own client ids only', async () => {
    const { uuid, username, password } = login('with bcrypt');
    // As auth/postgres_cockroach_commons.lua has it.
    const found = (client_id: string, name = username) =>
      rows(
        `select publish_acl::text, subscribe_acl::text, password as passhash, client_id from vmq_auth_acl
         where mountpoint = $1 and (client_id = $2 or client_id = '*') and username = $3`,
        ['', client_id, name],
      );
    for (const client_id of [username, `fleet_${uuid}`]) {
      const [row] = await found(client_id);
      expect(await compare(password, row.passhash)).toBe(true);
      expect(row.passhash).toMatch(/^\$2a\$/);
      expect(JSON.parse(row.publish_acl)).toEqual([{ pattern: `iot/device/${uuid}/#` }]);
      expect(JSON.parse(row.subscribe_acl)).toEqual([{ pattern: `iot/device/${uuid}/#` }]);
    }
    const { uuid: otherUuid, username: otherName } = login('unassigned');
    for (const id of ['another', otherName, `fleet_${otherUuid}`]) expect(await found(id)).toEqual([]);
    await berth.sql('update devices set mqtt_broker_id = $1 where uuid = $2', [elsewhere, uuid]);
    expect(await found(username)).toHaveLength(1);
    await berth.sql('update devices set handed_broker_id = $1 where uuid = $2', [elsewhere, uuid]);
    expect(await found(username)).toEqual([]);
    await berth.sql('update devices set mqtt_broker_id = null, handed_broker_id = null where uuid = $1', [uuid]);
  });
});

it('the configurations bind the client id', () => {
  const blocks = document.split(/^```\w*$/m).filter((_, index) => index % 2 === 1);
  const mosquitto = blocks.filter((text) => /^(auth_plugin|password_file) /m.test(text));
  expect(mosquitto).toHaveLength(3);
  for (const text of mosquitto) expect(text).toMatch(/^use_username_as_clientid true$/m);
  expect(document).toMatch(/^ *body \{ username = .*password = .*client_id = "\$\{clientid\}" \}$/m);
});

describe('ACLs and superusers', () => {
  it.each([
    [1, [1], undefined],
    [2, [2], 'publish'],
    [3, [1, 2], 'publish'],
    [4, [4], undefined],
    [5, [1, 4], 'subscribe'],
    [6, [2, 4], 'publish'],
    [7, [1, 2, 4], 'all'],
  ])('an ACL of %s', async (access, granted, action) => {
    const { username, uuid } = login('unassigned');
    await berth.sql('update mqtt_acls set access = $1 where username = $2', [access, username]);
    const goAuth = setting(/^auth_opt_pg_aclquery (.*)$/m);
    const bits = [];
    for (const bit of [1, 2, 4]) if ((await rows(goAuth, [username, bit])).length > 0) bits.push(bit);
    expect(bits).toEqual(granted);
    const emqx = await rows(setting(/query = "(select permission.*)"$/m), [username]);
    expect(emqx).toEqual(action ? [{ permission: 'allow', action, topic: `iot/device/${uuid}/#` }] : []);
  });

  it('mosquitto-go-auth: the superuser query finds superusers only', async () => {
    const query = setting(/^auth_opt_pg_superquery (.*)$/m);
    const { username } = login('unassigned');
    expect(await rows(query, [username])).toEqual([{ count: '0' }]);
    await berth.sql('update mqtt_users set is_superuser = true where username = $1', [username]);
    expect(await rows(query, [username])).toEqual([{ count: '1' }]);
  });

  it('the role mqtt_broker reads the views and mqtt_acls, and no other table', async () => {
    for (const table of ['mqtt_users', 'devices', 'provisioning_keys', 'mqtt_broker_config', 'device_events']) {
      await expect(rows(`select * from ${table}`, []), table).rejects.toThrow('permission denied');
    }
    await expect(rows(`update mqtt_acls set access = 7`, [])).rejects.toThrow('permission denied');
  });

  it('a user is found by indexes only', async () => {
    await broker.query('set enable_seqscan = off');
    const plan = JSON.stringify(await rows(`explain select * from mqtt_broker_users where username = 'device_x'`, []));
    expect(plan).toMatch(/(Index|Bitmap Heap) [^"]*on devices/);
    expect(plan).not.toMatch(/Seq Scan on (devices|mqtt_users|provisioning_keys)/);
  });
});

it('a move takes nothing from a device that does not follow it; what it is handed takes effect with the next query', async () => {
  const query = setting(/^auth_opt_pg_userquery (.*)$/m);
  const { uuid, username } = login('assigned here');
  const move = (mqtt_broker_id: number) =>
    call(`PUT /api/v1/devices/${uuid}`, { headers: admin, body: { mqtt_broker_id } });
  await move(elsewhere);
  expect(await rows(query, [username])).toHaveLength(1);
  await berth.sql('update devices set handed_broker_id = $1 where uuid = $2', [elsewhere, uuid]);
  expect(await rows(query, [username])).toEqual([]);
  await move(here);
  expect(await rows(query, [username])).toHaveLength(1);
});
