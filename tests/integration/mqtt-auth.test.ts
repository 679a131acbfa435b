import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { closeDatabase, query } from '../../lib/database/db.ts';
import { log } from '../../lib/log.ts';
import { type Answer, call } from '../support/api.ts';
import {
  addBroker,
  admin,
  type Berth,
  issueKey,
  newDevice,
  register,
  setEnv,
  startBerth,
  withTrigger,
} from '../support/berth.ts';

const SECRET = 'secret-of-the-brokers';
const path = 'POST /api/v1/mqtt/auth';
let berth: Berth;
let here: number;
let elsewhere: number;
let key: string;
let device: ReturnType<typeof newDevice>;
let username: string;
let password: string;

beforeAll(async () => {
  berth = await startBerth();
  here = await addBroker(berth, { is_default: true, client_id_prefix: 'fleet' });
  elsewhere = await addBroker(berth);
  setEnv({});
  key = (await issueKey()).key;
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({ BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) });
  device = newDevice();
  ({ username, password } = (await register(key, device)).body.mqtt);
});

type Question = Record<string, unknown>;
const json = (route: string, question: Question, query: Record<string, string> = {}): Promise<Answer> =>
  call(`${path}/${route}`, { headers: { authorization: `Bearer ${SECRET}` }, query, body: question });
/** As RabbitMQ asks: a form, the secret in the URL, the body base64-encoded by the gateway. */
const form = (route: string, question: Record<string, string>, query: Record<string, string> = {}): Promise<Answer> =>
  call(`${path}/${route}`, {
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    query: { secret: SECRET, ...query },
    body: new URLSearchParams(question).toString(),
    base64: true,
  });
const allowed = { status: 200, body: { result: 'allow', is_superuser: false, Ok: true, Error: '' } };
const denied = (why: string) => ({
  status: 200,
  body: { result: 'deny', is_superuser: false, Ok: false, Error: why },
});
const own = (rest: string) => `iot/device/${device.uuid}/${rest}`;
const move = (mqtt_broker_id: number | null) =>
  call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { mqtt_broker_id } });

/** A question to each route whose answer is yes. */
const rightQuestions = (): Record<string, Record<string, string>> => ({
  user: { username, password },
  vhost: { username, vhost: '/', ip: '127.0.0.1', tags: '' },
  resource: { username, vhost: '/', resource: 'exchange', name: 'amq.topic', permission: 'write', tags: '' },
  topic: {
    username,
    vhost: '/',
    resource: 'topic',
    name: 'amq.topic',
    permission: 'write',
    routing_key: own('state').replaceAll('/', '.'),
  },
  acl: { username, topic: own('state'), action: 'publish' },
});
const ROUTES = ['user', 'vhost', 'resource', 'topic', 'acl'];

describe.each(ROUTES)('%s', (route) => {
  const ask = (changes: Record<string, string> = {}, query: Record<string, string> = {}) =>
    form(route, { ...rightQuestions()[route], ...changes }, query);
  const text = async (changes?: Record<string, string>, query?: Record<string, string>) =>
    (await ask(changes, query)).text;

  it('answers a form with text and JSON with JSON', async () => {
    const inForm = await ask();
    expect(inForm).toMatchObject({ status: 200, text: 'allow' });
    expect(inForm.headers['content-type']).toBe('text/plain');
    const inJson = await json(route, rightQuestions()[route] as Question);
    expect(inJson).toMatchObject(allowed);
    expect(inJson.headers['content-type']).toBe('application/json');
  });

  it('a refusal is 200: EMQX ignores a source that answers another status', async () => {
    const refused = await ask({ username: 'device_nobody' });
    expect(refused).toMatchObject({ status: 200, text: 'deny' });
    expect(await json(route, { ...rightQuestions()[route], username: 'device_nobody' })).toMatchObject(
      denied('unknown or inactive user'),
    );
  });

  it('refuses a device that only other brokers accept, if the request names the broker', async () => {
    expect(await text({}, { broker: String(here) })).toBe('allow');
    expect(await text({}, { broker: String(elsewhere) })).toBe('deny');
    await move(elsewhere);
    expect(await text({}, { broker: String(here) }), 'it was handed this one').toBe('allow');
    expect(await text({}, { broker: String(elsewhere) })).toBe('allow');
    await berth.sql('update devices set handed_broker_id = $1 where uuid = $2', [elsewhere, device.uuid]);
    expect(await text({}, { broker: String(here) })).toBe('deny');
    expect(await json(route, rightQuestions()[route] as Question, { broker: String(here) })).toMatchObject(
      denied(`its broker is number ${elsewhere}`),
    );
    expect(await text({}, { broker: String(elsewhere) })).toBe('allow');
    expect(await text()).toBe('allow');
  });

  it('refuses an inactive device and an inactive MQTT user', async () => {
    await call(`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { is_active: false } });
    expect(await text()).toBe('deny');
    await berth.sql('update mqtt_users set is_active = true where username = $1', [username]);
    expect(await text(), 'the device alone is inactive').toBe('deny');
    await berth.sql('update devices set is_active = true where uuid = $1', [device.uuid]);
    expect(await text()).toBe('allow');
    await berth.sql('update mqtt_users set is_active = false where username = $1', [username]);
    expect(await text(), 'the user alone is inactive').toBe('deny');
  });

  it('refuses a deleted device', async () => {
    await call(`DELETE /api/v1/devices/${device.uuid}`, { headers: admin });
    expect(await text()).toBe('deny');
  });

  it('refuses values that are missing, of another type, too long or not storable', async () => {
    const right = rightQuestions()[route] as Record<string, string>;
    expect(await json(route, {})).toMatchObject({ status: 200, body: { result: 'deny' } });
    expect((await form(route, {})).text).toBe('deny');
    const unread = ['vhost', 'ip', 'tags', ...(route === 'topic' ? ['resource'] : [])];
    for (const member of Object.keys(right).filter((name) => !unread.includes(name))) {
      const { [member]: _, ...rest } = right;
      const wrong = ['', 'a\0b', `${right[member]}\0`, '\ud800', 'x'.repeat(70_000), 7, null, {}, [right[member], 1]];
      for (const value of [undefined, ...wrong]) {
        const reply = await json(route, { ...rest, ...(value === undefined ? {} : { [member]: value }) });
        expect(reply, `${member}: ${JSON.stringify(value)?.slice(0, 20)}`).toMatchObject({
          status: 200,
          body: { result: 'deny' },
        });
      }
    }
  });

  it('refuses SQL and wildcards in a username', async () => {
    for (const wrong of ["' or true --", 'device_%', '%', '#', '+', 'device_', 'DEVICE_', username.toUpperCase()]) {
      expect(await text({ username: wrong }), wrong).toBe('deny');
    }
  });

  it('400 for ?broker= that is not an id, and for a body that is neither form nor JSON', async () => {
    expect((await ask({}, { broker: 'first' })).status).toBe(400);
    expect((await ask({}, { broker: '0' })).status).toBe(400);
    const noJson = await call(`${path}/${route}`, { query: { secret: SECRET }, body: '{"username":' });
    expect(noJson).toMatchObject({ status: 400, body: { code: 'malformed-json' } });
  });
});

describe('user', () => {
  it('refuses a wrong password', async () => {
    expect(await json('user', { username, password: 'wrong' })).toMatchObject(denied('wrong password'));
    expect(await json('user', { username, password: device.deviceApiKey })).toMatchObject(denied('wrong password'));
  });

  it('accepts a password with a bcrypt hash', async () => {
    setEnv({ BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET), MQTT_PASSWORD_HASH: 'bcrypt' });
    const other = newDevice();
    const { mqtt } = (await register(key, other)).body;
    expect(await json('user', { username: mqtt.username, password: mqtt.password })).toMatchObject(allowed);
    expect(await json('user', { username: mqtt.username, password })).toMatchObject(denied('wrong password'));
  });

  const asRabbitMq = async (client_id: string) => (await form('user', { username, password, client_id })).text;
  const asEmqx = async (client_id: unknown) => {
    const { status, body } = await json('user', { username, password, client_id });
    return status === 200 && body.result;
  };
  const asGoAuth = async (clientid: unknown) => {
    const { status } = await json('user', { username, password, clientid });
    return { 200: 'allow', 403: 'deny' }[status];
  };

  it.each([
    ['RabbitMQ', asRabbitMq],
    ['EMQX', asEmqx],
    ['mosquitto-go-auth', asGoAuth],
  ])('%s: accepts a client with its own client id only', async (_, as) => {
    expect(await as(`fleet_${device.uuid}`)).toBe('allow');
    expect(await as(username)).toBe('allow');
    expect(await as(`berth_${device.uuid}`), 'the prefix of another broker').toBe('deny');
    const other = newDevice();
    await register(key, other);
    const ofOther = [`fleet_${other.uuid}`, `device_${other.uuid}`];
    for (const id of [...ofOther, '', '\0', `${username}\0`, `${ofOther[0]}\0`, 'x'.repeat(70_000)]) {
      expect(await as(id), JSON.stringify(id.slice(0, 50))).toBe('deny');
    }
  });

  it.each([
    ['EMQX', asEmqx],
    ['mosquitto-go-auth', asGoAuth],
  ])('%s: refuses a client id that is no string', async (_, as) => {
    for (const id of [null, 7, {}, [username], '\ud800']) expect(await as(id), JSON.stringify(id)).toBe('deny');
  });

  it('an MQTT user that belongs to no device is accepted at every broker', async () => {
    const [row] = await berth.sql('select password_hash from mqtt_users where username = $1', [username]);
    await berth.sql(`insert into mqtt_users (username, password_hash) values ('backend', $1) on conflict do nothing`, [
      row?.password_hash,
    ]);
    await berth.sql('update mqtt_users set password_hash = $1 where username = $2', [row?.password_hash, 'backend']);
    const question = { username: 'backend', password };
    for (const client_id of [undefined, 'backend']) {
      expect(await json('user', { ...question, client_id }, { broker: String(elsewhere) })).toMatchObject(allowed);
    }
    expect(await json('user', { ...question, client_id: username })).toMatchObject(
      denied('the client id is not one of this user'),
    );
  });

  it('a username in a spelling of the legacy service is found with its device', async () => {
    const spelt = `device_${device.uuid.toUpperCase()}`;
    await berth.sql('update devices set mqtt_username = $1 where uuid = $2', [spelt, device.uuid]);
    await berth.sql('update mqtt_users set username = $1 where username = $2', [spelt, username]);
    expect(await json('user', { username: spelt, password }, { broker: String(elsewhere) })).toMatchObject(
      denied(`its broker is number ${here}`),
    );
    const question = { username: spelt, password };
    for (const client_id of [undefined, spelt, `fleet_${device.uuid}`, `fleet_${device.uuid.toUpperCase()}`]) {
      expect(await json('user', { ...question, client_id }, { broker: String(here) }), client_id).toMatchObject(
        allowed,
      );
    }
    expect(await json('user', { ...question, client_id: username }), 'not its username').toMatchObject({
      body: { result: 'deny' },
    });
  });

  it('the first login at the broker that the device was handed ends its former broker, and only that login writes', async () => {
    const row = async () =>
      (await berth.sql('select xmin, former_broker_ids as former from devices where uuid = $1', [device.uuid]))[0];
    await move(elsewhere);
    await call(`GET /api/v1/device/${device.uuid}/mqtt`, {
      headers: { authorization: `Bearer ${device.deviceApiKey}` },
    });
    const asks = (broker: number, changes = {}) =>
      json('user', { username, password, ...changes }, { broker: String(broker) });
    const before = await row();
    expect(before?.former).toEqual([here]);
    expect(await asks(here)).toMatchObject(allowed);
    expect(await json('user', { username, password }, {})).toMatchObject(allowed);
    expect(await asks(elsewhere, { password: 'wrong' })).toMatchObject({ body: { result: 'deny' } });
    expect(await asks(elsewhere, { client_id: 'another' })).toMatchObject({ body: { result: 'deny' } });
    expect(await row(), 'nothing was written').toEqual(before);
    expect(await asks(elsewhere)).toMatchObject(allowed);
    const after = await row();
    expect(after?.former).toBeNull();
    expect(await asks(elsewhere)).toMatchObject(allowed);
    expect(await row(), 'nothing was written').toEqual(after);
    expect(await asks(here)).toMatchObject(denied(`its broker is number ${elsewhere}`));
  });

  it('a login does not wait for a locked row, and succeeds if the row cannot be written; a later login ends the former broker', async () => {
    await berth.sql(
      `update devices set mqtt_broker_id = $2, handed_broker_id = $2, former_broker_ids = array[$1]::integer[],
         former_until = now() + interval '1 day' where uuid = $3`,
      [here, elsewhere, device.uuid],
    );
    const asks = () => json('user', { username, password }, { broker: String(elsewhere) });
    await withTrigger(berth, 'before update on devices', `raise exception 'full'`, async () =>
      expect(await asks()).toMatchObject(allowed),
    );
    const other = new pg.Client({ connectionString: berth.databaseUrl });
    await other.connect();
    await other.query('begin');
    await other.query('select from devices where uuid = $1 for update', [device.uuid]);
    const begin = performance.now();
    expect(await asks()).toMatchObject(allowed);
    expect(performance.now() - begin).toBeLessThan(400);
    await other.end();
    const former = async () =>
      (await berth.sql('select former_broker_ids as ids from devices where uuid = $1', [device.uuid]))[0]?.ids;
    expect(await former()).toEqual([here]);
    expect(await asks()).toMatchObject(allowed);
    expect(await former()).toBeNull();
  });

  it('a device keeps the client ids of all brokers that accept it, and of a prefix that its broker had', async () => {
    const asks = (client_id: string, query: Record<string, string>) =>
      json('user', { username, password, client_id }, query);
    await move(elsewhere);
    await berth.sql(`update mqtt_broker_config set client_id_prefix = 'renamed' where id = $1`, [here]);
    for (const prefix of ['fleet', 'renamed']) {
      expect(await asks(`${prefix}_${device.uuid}`, { broker: String(here) })).toMatchObject(allowed);
      expect(await asks(`${prefix}_${device.uuid}`, {})).toMatchObject(allowed);
      expect(await asks(`${prefix}_${device.uuid}`, { broker: String(elsewhere) })).toMatchObject({
        body: { result: 'deny' },
      });
    }
    expect(await asks(`berth_${device.uuid}`, {})).toMatchObject(allowed);
    await berth.sql(`update mqtt_broker_config set client_id_prefix = 'fleet' where id = $1`, [here]);
  });

  it('a device for which no broker row resolves is accepted at every broker', async () => {
    await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [here]);
    expect(await json('user', { username, password }, { broker: String(elsewhere) })).toMatchObject(allowed);
    await berth.sql('update mqtt_broker_config set is_active = true where id = $1', [here]);
  });

  it('a device whose broker comes from its provisioning key is refused at another broker', async () => {
    const keyed = await issueKey({ default_broker_id: elsewhere });
    const other = newDevice();
    const { mqtt } = (await register(keyed.key, other)).body;
    await berth.sql('update devices set mqtt_broker_id = null where uuid = $1', [other.uuid]);
    const question = { username: mqtt.username, password: mqtt.password };
    expect(await json('user', question, { broker: String(here) })).toMatchObject(
      denied(`its broker is number ${elsewhere}`),
    );
    expect(await json('user', question, { broker: String(elsewhere) })).toMatchObject(allowed);
  });
});

describe('acl', () => {
  const acl = async (question: Question) => (await json('acl', { username, ...question })).body.result;

  it('EMQX: publish and subscribe to its own topics only', async () => {
    const other = `iot/device/${newDevice().uuid}/state`;
    for (const action of ['publish', 'subscribe']) {
      expect(await acl({ action, topic: own('a/b') })).toBe('allow');
      expect(await acl({ action, topic: other })).toBe('deny');
      expect(await acl({ action, topic: '$SYS/broker/uptime' })).toBe('deny');
    }
    expect(await acl({ action: 'all', topic: own('a') })).toBe('deny');
    expect(await acl({ action: 'toString', topic: own('a') })).toBe('deny');
  });

  it('a subscription is allowed only if an ACL covers its whole filter', async () => {
    expect(await acl({ action: 'subscribe', topic: own('#') })).toBe('allow');
    expect(await acl({ action: 'subscribe', topic: own('+/x') })).toBe('allow');
    for (const topic of ['#', '+/#', 'iot/device/+/state', 'iot/device/#', '$share/g/iot/device/#']) {
      expect(await acl({ action: 'subscribe', topic }), topic).toBe('deny');
    }
  });

  it.each([
    [1, { 1: 'allow', 2: 'deny', 4: 'deny', publish: 'deny', subscribe: 'deny' }],
    [2, { 1: 'deny', 2: 'allow', 4: 'deny', publish: 'allow', subscribe: 'deny' }],
    [4, { 1: 'deny', 2: 'deny', 4: 'allow', publish: 'deny', subscribe: 'deny' }],
    [5, { 1: 'allow', 2: 'deny', 4: 'allow', publish: 'deny', subscribe: 'allow' }],
    [7, { 1: 'allow', 2: 'allow', 4: 'allow', publish: 'allow', subscribe: 'allow' }],
  ])('an ACL of %s', async (access, expected) => {
    await berth.sql('update mqtt_acls set access = $1 where username = $2', [access, username]);
    const asked = Object.keys(expected).map(async (what) => {
      const question = /^\d$/.test(what) ? { acc: Number(what) } : { action: what };
      const { status } = await json('acl', { username, topic: own('a'), ...question });
      const answer = 'action' in question ? await acl({ topic: own('a'), ...question }) : status;
      return [what, answer === 200 ? 'allow' : answer === 403 ? 'deny' : answer];
    });
    expect(Object.fromEntries(await Promise.all(asked))).toEqual(expected);
  });

  it('a superuser may use every topic while it is active', async () => {
    await berth.sql('update mqtt_users set is_superuser = true where username = $1', [username]);
    const question = { action: 'subscribe', topic: '#' };
    expect(await json('acl', { username, ...question })).toMatchObject(allowed);
    await berth.sql('update mqtt_users set is_active = false where username = $1', [username]);
    expect(await acl(question)).toBe('deny');
  });
});

describe('mosquitto-go-auth', () => {
  const goAuth = (route: string, question: Question, asForm = false) => {
    const all = { username, clientid: username, ...question };
    return asForm ? form(route, all as Record<string, string>) : json(route, all);
  };

  it.each([false, true])(
    '403 for a refusal, because the plugin reads only the status by default (form: %s)',
    async (asForm) => {
      expect((await goAuth('user', { password }, asForm)).status).toBe(200);
      expect((await goAuth('user', { password: 'wrong' }, asForm)).status).toBe(403);
      expect((await goAuth('user', { password, clientid: '\0' }, asForm)).status).toBe(403);
      expect((await goAuth('user', { password: 'wrong', clientid: '' }, asForm)).status).toBe(403);
      const acl = async (topic: string, acc: string) => (await goAuth('acl', { topic, acc }, asForm)).status;
      expect(await acl(own('a'), '2')).toBe(200);
      expect(await acl('iot/device/other/a', '2')).toBe(403);
      expect(await acl(own('a'), '0')).toBe(403);
      expect(await acl(own('a'), 'x')).toBe(403);
    },
  );

  const NO_ACCESS: { acc: unknown }[] = [
    { acc: { toString: 2 } },
    { acc: { valueOf: null } },
    { acc: [2] },
    { acc: true },
  ];
  it.each(NO_ACCESS)('403 for an access that is no number: $acc', async ({ acc }) => {
    expect((await goAuth('acl', { topic: own('a'), acc })).status).toBe(403);
  });

  it('the refusal contains the reason', async () => {
    expect(await goAuth('user', { password: 'wrong' })).toMatchObject({
      status: 403,
      body: { code: 'mqtt-access-refused', detail: 'Refused: wrong password.' },
    });
  });
});

describe('RabbitMQ', () => {
  const resource = async (resource: string, name: string, permission: string) =>
    (await form('resource', { username, vhost: '/', resource, name, permission, tags: '' })).text;
  const topic = async (permission: string, routing_key: string, name = 'amq.topic') =>
    (await form('topic', { username, vhost: '/', resource: 'topic', name, permission, routing_key })).text;

  it('allows its own queues with every permission', async () => {
    for (const permission of ['configure', 'write', 'read']) {
      const id = `fleet_${device.uuid}`;
      for (const name of [`mqtt-subscription-${id}qos0`, `mqtt-subscription-${id}qos1`, `mqtt-will-${id}`]) {
        expect(await resource('queue', name, permission), name).toBe('allow');
      }
    }
  });

  it('refuses every other queue, whatever the client id', async () => {
    const other = newDevice();
    await register(key, other);
    for (const name of [
      `mqtt-subscription-fleet_${other.uuid}qos1`,
      `mqtt-subscription-device_${other.uuid}qos1`,
      `mqtt-subscription-fleet_${device.uuid}qos2`,
      `mqtt-subscription-fleet_${device.uuid}`,
      'orders',
    ]) {
      expect(await resource('queue', name, 'read'), name).toBe('deny');
    }
  });

  it('allows the exchange to publish and bind but not to configure, and no other exchange', async () => {
    expect(await resource('exchange', 'amq.topic', 'read')).toBe('allow');
    expect(await resource('exchange', 'amq.topic', 'configure')).toBe('deny');
    expect(await resource('exchange', 'amq.direct', 'write')).toBe('deny');
    expect(await resource('exchange', '', 'write')).toBe('deny');
    expect(await resource('topic', 'amq.topic', 'write')).toBe('deny');
  });

  it('reads topics in the spelling of AMQP', async () => {
    const prefix = `iot.device.${device.uuid}`;
    expect(await topic('write', `${prefix}.state`)).toBe('allow');
    expect(await topic('read', `${prefix}.#`)).toBe('allow');
    expect(await topic('read', `${prefix}.*.x`)).toBe('allow');
    for (const wider of ['#', '*.#', 'iot.device.*.state', 'iot.device.#', `iot.#.${device.uuid}`]) {
      expect(await topic('read', wider), wider).toBe('deny');
    }
    expect(await topic('configure', `${prefix}.state`)).toBe('deny');
    // What is a name in MQTT is a wildcard in AMQP.
    await berth.sql('update mqtt_acls set topic = $1 where username = $2', ['iot/*/state', username]);
    expect(await topic('read', 'iot.*.state')).toBe('deny');
    expect(await topic('write', `${prefix}.state`, 'amq.direct')).toBe('deny');
  });

  it('refuses every topic of a device whose uuid has a dot: RabbitMQ would mix its topics with another device’s', async () => {
    const plain = newDevice({ uuid: 'pump' });
    const dotted = newDevice({ uuid: 'pump.7' });
    await register(key, plain);
    await register(key, dotted);
    const ask = async (username: string, permission: string) =>
      (await form('topic', { username, name: 'amq.topic', permission, routing_key: 'iot.device.pump.7.state' })).text;
    expect(await ask('device_pump.7', 'read')).toBe('deny');
    expect(await ask('device_pump.7', 'write')).toBe('deny');
    expect(await ask('device_pump', 'read')).toBe('allow');
  });
});

describe('the callbacks leave nothing behind', () => {
  it('neither the secret nor the password is in the log', async () => {
    let written = '';
    const spies = [process.stdout, process.stderr].map((stream) =>
      vi.spyOn(stream, 'write').mockImplementation((chunk) => {
        written += chunk;
        return true;
      }),
    );
    log.setLogLevel('DEBUG');
    await form('user', { username, password }, { broker: String(here) });
    await form('user', { username, password: 'wrong-password' });
    await call(`${path}/user`, { query: { secret: 'wrong-secret' }, body: { username, password } });
    log.setLogLevel('SILENT');
    for (const spy of spies) spy.mockRestore();
    expect(written).toContain('POST /api/v1/mqtt/auth/user');
    for (const secret of [SECRET, password, 'wrong-password', 'wrong-secret']) expect(written).not.toContain(secret);
  });

  it('no request writes to the database', async () => {
    const state = () =>
      berth.sql('select count(*)::int as events, (select max(updated_at) from mqtt_users) from device_events');
    const before = await state();
    for (const route of ROUTES) await form(route, rightQuestions()[route] as Record<string, string>);
    await json('user', { username, password: 'wrong' });
    expect(await state()).toEqual(before);
  });

  it('503 for an unreachable database, never an acceptance', async () => {
    const url = process.env.DATABASE_URL as string;
    await closeDatabase();
    setEnv({ DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none', BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET) });
    const reply = await json('user', { username, password });
    await closeDatabase();
    setEnv({ DATABASE_URL: url });
    expect(reply.status).toBe(503);
  });
});

it('one statement finds a user by indexes only', async () => {
  const ctx = { requestId: '', sourceIp: '', actor: 'schedule' as const, deadline: Date.now() + 5_000 };
  // The handlers' own connection, which knows what it has prepared.
  await closeDatabase();
  await json('user', { username, password });
  const prepared = await query<{ statement: string }>(ctx, (sql) => sql`select statement from pg_prepared_statements`);
  const statements = prepared.map(({ statement }) => statement).filter((text) => text.includes('mqtt_broker_users'));
  expect(statements).toHaveLength(1);
  await query(ctx, (sql) => sql`set enable_seqscan = off`);
  const plan = JSON.stringify(await query(ctx, (sql) => sql.unsafe(`explain (generic_plan) ${statements[0]}`)));
  await query(ctx, (sql) => sql`reset enable_seqscan`);
  for (const table of ['devices', 'mqtt_users', 'mqtt_acls', 'provisioning_keys']) {
    expect(plan).toMatch(new RegExp(`(Index|Bitmap Heap) [^"]*on ${table}`));
    expect(plan).not.toMatch(new RegExp(`Seq Scan on ${table}`));
  }
});
