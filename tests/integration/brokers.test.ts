import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { log } from '../../lib/log.ts';
import { type Answer, call } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';
import { type Authority, createAuthority, type Pair } from '../support/certificates.ts';
import { type ConcurrentCall, callConcurrently } from '../support/concurrent-calls.ts';
import { startInstances, stopInstances } from '../support/instances.ts';

const path = '/api/v1/mqtt/brokers';
const SEAL_KEY = randomBytes(32).toString('base64');

let berth: Berth;
let authority: Authority;
let client: Pair;
beforeAll(async () => {
  berth = await startBerth();
  authority = await createAuthority('Test CA');
  client = await authority.issue({ commonName: 'berth' });
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({ BERTH_SEAL_KEY: SEAL_KEY });
  await berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events');
  await berth.sql('delete from mqtt_broker_config');
});

const get = (target: string) => call(`GET ${path}${target}`, { headers: admin });
const create = (body: unknown) => call(`POST ${path}`, { headers: admin, body });
const update = (id: number, body: unknown, query?: Record<string, string>) =>
  call(`PUT ${path}/${id}`, { headers: admin, body, ...(query ? { query } : {}) });
const remove = (id: number, query?: Record<string, string>) =>
  call(`DELETE ${path}/${id}`, { headers: admin, ...(query ? { query } : {}) });
const row = async (id: number) => (await berth.sql('select * from mqtt_broker_config where id = $1', [id]))[0];
const defaults = async () =>
  (await berth.sql('select id from mqtt_broker_config where is_default')).map(({ id }) => id);
const newBroker = { name: 'new', host: 'mqtt.example.com', port: 1883 };

async function created(body: object): Promise<number> {
  const reply = await create({ ...newBroker, name: `b-${randomBytes(4).toString('hex')}`, ...body });
  expect(reply.status, reply.text).toBe(201);
  return reply.body.data.id;
}

/** A device assigned to the broker, or to none. */
async function deviceOn(brokerId: number | null): Promise<string> {
  const { uuid } = newDevice();
  await berth.sql('insert into devices (uuid, fleet_id, mqtt_broker_id) values ($1, $2, $3)', [
    uuid,
    'fleet-a',
    brokerId,
  ]);
  return uuid;
}

const LISTED = [
  ...['id', 'name', 'description', 'protocol', 'host', 'port', 'username', 'use_tls', 'client_id_prefix', 'keep_alive'],
  ...['clean_session', 'reconnect_period', 'connect_timeout', 'is_active', 'is_default', 'broker_type', 'extra_config'],
  ...['created_at', 'updated_at', 'last_connected_at', 'accepts_new_devices', 'region', 'allocation_weight'],
];
const ONE = [
  ...LISTED,
  ...['ca_cert', 'client_cert', 'verify_certificate', 'has_password', 'has_client_key'],
  ...['ca_cert_info', 'client_cert_info'],
];

describe('reading', () => {
  it('lists the default first, then by name, with the legacy columns', async () => {
    await created({ name: 'b' });
    await created({ name: 'a' });
    await created({ name: 'z', is_default: true });
    const { status, body } = await get('');
    expect(status).toBe(200);
    expect(body).toMatchObject({ success: true, count: 3, data: [{ name: 'z' }, { name: 'a' }, { name: 'b' }] });
    expect(Object.keys(body.data[0]).sort()).toEqual([...LISTED].sort());
  });

  it.each([
    ...['1', '2', '3', '7'].map((limit) => [limit, path]),
    ...['1', '2', '3', '7'].map((limit) => [limit, `${path}/summary`]),
  ])('in pages of %s, every broker of %s is listed once, the default first', async (limit, list) => {
    for (const name of ['b', 'd', 'f', 'a', 'c', 'e']) await created({ name, is_default: name === 'd' });
    await berth.sql(`update mqtt_broker_config set is_default = null where name in ('b', 'f')`);
    const names: string[] = [];
    let next: string | undefined = `${list}?limit=${limit}`;
    while (next) {
      const [target, search] = next.split('?');
      const query = Object.fromEntries(new URLSearchParams(search));
      const { status, body } = await call(`GET ${target}`, { headers: admin, query });
      expect({ status, success: body.success, count: body.count }).toEqual({
        status: 200,
        success: true,
        count: body.data.length,
      });
      expect(body.count).toBeLessThanOrEqual(Number(limit));
      names.push(...body.data.map(({ name }: { name: string }) => name));
      next = body.next;
    }
    expect(names).toEqual(['d', 'a', 'b', 'c', 'e', 'f']);
  });

  it.each(['', '/summary'])(
    'without parameters, 1,000 brokers are one page without `next`, and of one more there is a second page: GET …%s',
    async (list) => {
      await berth.sql(`
      insert into mqtt_broker_config (name, host, port) select 'b-' || n, 'mqtt.example.com', 1883
      from generate_series(1, 1000) n`);
      const { body } = await get(list);
      expect(Object.keys(body)).toEqual(['success', 'data', 'count']);
      expect(body.count).toBe(1000);
      await created({ name: 'z' });
      const more = await get(list);
      expect([more.body.count, more.body.next]).toEqual([1000, `${path}${list}?after=b-999`]);
    },
  );

  it('the summary counts assigned devices, as numbers and as strings, and devices that follow the default', async () => {
    const first = await created({ name: 'first', is_default: true });
    const second = await created({ name: 'second' });
    const resting = await created({ name: 'third', is_active: false });
    for (const broker of [second, second, resting, null]) await deviceOn(broker);
    await berth.sql('update devices set is_active = false where id = (select min(id) from devices)');
    // Its provisioning key has a broker, so it does not follow the default.
    const { id: keyId } = await issueKey({ default_broker_id: second });
    await berth.sql('insert into devices (uuid, provisioned_by_key_id) values ($1, $2)', [newDevice().uuid, keyId]);
    const { body } = await get('/summary');
    expect(body).toMatchObject({
      success: true,
      count: 3,
      data: [
        { id: first, device_count: '0', active_device_count: '0', assigned_count: 0, following_default_count: 2 },
        {
          ...{ id: second, device_count: '2', active_device_count: '1', assigned_count: 2, active_assigned_count: 1 },
          following_default_count: 0,
        },
        { id: resting, device_count: '1', active_device_count: '1', following_default_count: 0 },
      ],
    });
  });

  it('one broker is returned with its certificates, and only whether secrets are stored', async () => {
    const id = await created({
      ca_cert: authority.cert,
      client_cert: client.cert,
      client_key: client.key,
      username: 'u',
      password: 'p',
    });
    const { status, body } = await get(`/${id}`);
    expect(status).toBe(200);
    expect(Object.keys(body.data).sort()).toEqual([...ONE].sort());
    expect(body).toMatchObject({
      success: true,
      data: {
        ca_cert: authority.cert,
        client_cert: client.cert,
        has_password: true,
        has_client_key: true,
        ca_cert_info: [
          { subject: 'CN=Test CA', issuer: 'CN=Test CA', expires_at: expect.stringMatching(/^20\d\d-.*Z$/) },
        ],
        client_cert_info: [{ subject: 'CN=berth', issuer: 'CN=Test CA' }],
      },
    });
  });

  it.each(['0', '-1', '2147483648', '1.5', 'x', '1e3'])('an id of %s is 400', async (id) => {
    for (const route of [`GET ${path}/${id}`, `PUT ${path}/${id}`, `DELETE ${path}/${id}`, `POST ${path}/${id}/test`]) {
      expect(await call(route, { headers: admin, body: {} })).toMatchObject({
        status: 400,
        body: { success: false, code: 'invalid-request', errors: [{ path: 'id' }] },
      });
    }
  });

  it('an unknown id is 404 with the legacy error', async () => {
    const body = { success: false, error: 'Broker configuration not found', code: 'broker-config-not-found' };
    const at = `${path}/999999`;
    for (const route of [`GET ${at}`, `PUT ${at}`, `DELETE ${at}`, `POST ${at}/test`]) {
      expect(await call(route, { headers: admin, body: { port: 1 } })).toMatchObject({ status: 404, body });
    }
  });
});

describe('creating', () => {
  it('returns 201 with the row, its defaults and its path', async () => {
    const { status, headers, body } = await create(newBroker);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      success: true,
      message: expect.any(String),
      data: {
        ...newBroker,
        protocol: 'mqtt',
        use_tls: false,
        verify_certificate: true,
        keep_alive: 60,
        is_active: true,
        is_default: false,
        accepts_new_devices: true,
        allocation_weight: 100,
        region: null,
        extra_config: {},
        has_password: false,
        ca_cert_info: null,
      },
    });
    expect(headers.location).toBe(`${path}/${body.data.id}`);
    expect(Math.abs(Date.parse(body.data.created_at) - Date.now())).toBeLessThan(10_000);
  });

  it('accepts every field', async () => {
    const all = {
      description: 'in the hall',
      protocol: 'wss',
      username: 'u',
      use_tls: true,
      verify_certificate: false,
      client_id_prefix: 'hall',
      keep_alive: 30,
      clean_session: false,
      reconnect_period: 500,
      connect_timeout: 5_000,
      is_active: true,
      is_default: true,
      broker_type: 'edge',
      extra_config: { rack: { unit: [1, 'zwei'] } },
      accepts_new_devices: false,
      region: 'eu',
      allocation_weight: 1000,
    };
    const { status, body } = await create({ ...newBroker, ...all });
    expect(status).toBe(201);
    expect(body.data).toMatchObject(all);
    expect((await get(`/${body.data.id}`)).body.data).toEqual(body.data);
  });

  it.each([
    ['mqtt', false],
    ['mqtts', true],
    ['ws', false],
    ['wss', true],
  ])('use_tls follows from %s: %s', async (protocol, use_tls) => {
    expect((await create({ ...newBroker, protocol })).body.data).toMatchObject({ protocol, use_tls });
  });

  it.each(['broker', 'mosquitto_1', 'a.b-c.example.com', '10.0.0.7', '203.0.113.9', '2001:db8::7', 'fd12::1'])(
    'host %s is accepted',
    async (host) => expect((await create({ ...newBroker, host })).status).toBe(201),
  );

  it.each([undefined, {}, { name: 'n' }, { ...newBroker, host: null }, { ...newBroker, name: '' }])(
    'a missing required field (%j) is 400 with the legacy error',
    async (body) => {
      expect(await create(body)).toMatchObject({
        status: 400,
        body: {
          success: false,
          error: 'Missing required fields: name, host, port',
          code: 'missing-broker-fields',
          errors: expect.any(Array),
        },
      });
    },
  );

  const LOCAL = ['localhost', 'x.localhost', '127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'];
  const FORBIDDEN = [
    '169.254.169.254',
    '169.254.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    'fe80::1',
    'ff02::1',
  ];
  const ODD = [
    'mqtt://h',
    'h/path',
    'h h',
    ' h',
    'u@h',
    'h:1883',
    '[::1]',
    '127.1',
    '0x7f.1',
    '2130706433',
    'h..x',
    '-h',
  ];
  it.each([
    ...[0, 70_000, 'abc', '1883', 1.5, -1].map((port) => ['port', port]),
    ...['http', 'MQTT', '', 5].map((protocol) => ['protocol', protocol]),
    ...[...LOCAL, ...FORBIDDEN, ...ODD, '::ffff:169.254.169.254', 'fe80::1%eth0', 'fd00:ec2::254', 'x'.repeat(300)].map(
      (host) => ['host', host],
    ),
    ['name', 'x'.repeat(256)],
    ['name', '  '],
    ['name', 'a\0b'],
    ['keep_alive', 0],
    ['keep_alive', 65_536],
    ['reconnect_period', -1],
    ['connect_timeout', 10],
    ['is_active', 'true'],
    ['is_default', 1],
    ['extra_config', []],
    ['extra_config', { long: 'x'.repeat(20_000) }],
    ['allocation_weight', 0],
    ['allocation_weight', 1001],
    ['region', 'x'.repeat(101)],
    ['password', ''],
    ['pasword', 'a typo'],
    ['id', 5],
  ] as [string, unknown][])('%s %s is 400 and names the field', async (field, value) => {
    const reply = await create({ ...newBroker, [field]: value });
    expect(reply, reply.text).toMatchObject({ status: 400, body: { success: false, errors: [{ path: field }] } });
  });

  it('the local stack accepts brokers on loopback, but not at the metadata address', async () => {
    setEnv({ BERTH_STAGE: 'local' });
    expect((await create({ ...newBroker, host: 'localhost' })).status).toBe(201);
    expect((await create({ ...newBroker, host: '169.254.169.254' })).status).toBe(400);
  });

  it('a name that is taken is 409 and changes nothing', async () => {
    const id = await created({ name: 'new', is_default: true });
    const reply = await create({ ...newBroker, is_default: true });
    expect(reply).toMatchObject({ status: 409, body: { success: false, code: 'broker-name-taken' } });
    expect(await defaults()).toEqual([id]);
  });

  it('a body over 256 KB is 413', async () => {
    expect(await create({ ...newBroker, ca_cert: 'x'.repeat(300_000) })).toMatchObject({ status: 413 });
  });

  it('a certificate bundle of 40 KB can be stored when a broker is created and when it is changed', async () => {
    const ca_cert = authority.cert.repeat(Math.ceil(40_000 / authority.cert.length));
    const id = await created({ ca_cert });
    expect((await update(id, { ca_cert: `# new\n${ca_cert}` })).status).toBe(200);
    expect((await row(id))?.ca_cert).toBe(`# new\n${ca_cert}`);
  });
});

describe('certificates', () => {
  it('a bundle is reported as a list of certificates', async () => {
    const other = await createAuthority('Other CA');
    const { status, body } = await create({ ...newBroker, ca_cert: `# two\n${authority.cert}\n${other.cert}\n` });
    expect(status).toBe(201);
    expect(body.data.ca_cert_info).toMatchObject([{ subject: 'CN=Test CA' }, { subject: 'CN=Other CA' }]);
  });

  it('an invalid or expired certificate, or one with a private key, is 400', async () => {
    const expired = await authority.issue({ commonName: 'old', days: -1 });
    const broken = authority.cert.replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA');
    for (const [ca_cert, message] of [
      ['certificate', 'PEM'],
      [client.key, 'PEM'],
      [`${authority.cert}${client.key}`, 'PEM'],
      [broken, 'cannot be read'],
      [`${authority.cert}\n${expired.cert}`, 'CN=old expired on'],
    ]) {
      const reply = await create({ ...newBroker, ca_cert });
      expect(reply).toMatchObject({ status: 400, body: { errors: [{ path: 'ca_cert' }] } });
      expect(reply.body.errors[0].message).toContain(message);
    }
  });

  it('client_cert and client_key are only accepted together, and must match', async () => {
    const other = await authority.issue({ commonName: 'other' });
    for (const [fields, field] of [
      [{ client_cert: client.cert }, 'client_key'],
      [{ client_key: client.key }, 'client_cert'],
      [{ client_cert: client.cert, client_key: other.key }, 'client_key'],
      [{ client_cert: client.cert, client_key: 'secret' }, 'client_key'],
    ] as const) {
      const reply = await create({ ...newBroker, ...fields });
      expect(reply).toMatchObject({ status: 400, body: { errors: [{ path: field }] } });
      expect(reply.text).not.toContain('secret');
    }
    const id = await created({ client_cert: client.cert, client_key: client.key });
    // One is validated against the other one that is stored.
    expect(await update(id, { client_cert: other.cert })).toMatchObject({ status: 400 });
    expect(await update(id, { client_key: other.key })).toMatchObject({ status: 400 });
    expect(await update(id, { client_key: null })).toMatchObject({ status: 400 });
    expect(await update(id, { client_cert: client.cert, port: 1 })).toMatchObject({ status: 200 });
    expect(await update(id, { client_cert: other.cert, client_key: other.key })).toMatchObject({ status: 200 });
    expect(await update(id, { client_cert: null, client_key: null })).toMatchObject({
      status: 200,
      body: { data: { has_client_key: false, client_cert: null } },
    });
  });

  it('a use_tls that contradicts the protocol is 400', async () => {
    for (const [protocol, use_tls] of [
      ['mqtt', true],
      ['mqtts', false],
      ['ws', true],
      ['wss', false],
    ]) {
      expect(await create({ ...newBroker, protocol, use_tls })).toMatchObject({
        status: 400,
        body: { code: 'invalid-request', errors: [{ path: 'use_tls' }] },
      });
    }
  });
});

it.each([101, 5_000, 20_000])('extra_config with %i levels is 400', async (levels) => {
  const nested = `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
  const reply = await create(`{"name":"deep","host":"mqtt.example.com","port":1883,"extra_config":${nested}}`);
  expect(reply).toMatchObject({ status: 400, body: { code: 'invalid-request', errors: [{ path: 'extra_config' }] } });
});

it('extra_config with 100 levels is stored', async () => {
  const nested = JSON.parse(`{"a":${'['.repeat(99)}${']'.repeat(99)}}`);
  const id = await created({ extra_config: nested });
  expect((await get(`/${id}`)).body.data.extra_config).toEqual(nested);
});

describe('updating', () => {
  it('changes the fields that are sent and updated_at, and keeps the others', async () => {
    const id = await created({ region: 'eu', description: 'x' });
    await berth.sql(`update mqtt_broker_config set updated_at = '2020-01-01' where id = $1`, [id]);
    const { status, body } = await update(id, { port: 2883, description: null });
    expect(status).toBe(200);
    expect(body).toMatchObject({ success: true, data: { id, port: 2883, description: null, region: 'eu' } });
    expect(Date.parse(body.data.updated_at)).toBeGreaterThan(Date.now() - 10_000);
  });

  it('a protocol alone sets use_tls; a use_tls that contradicts the stored protocol is 400', async () => {
    const id = await created({});
    expect((await update(id, { protocol: 'mqtts' })).body.data).toMatchObject({ protocol: 'mqtts', use_tls: true });
    expect(await update(id, { use_tls: false })).toMatchObject({
      status: 400,
      body: { errors: [{ path: 'use_tls' }] },
    });
    expect((await update(id, { port: 8883 })).body.data.use_tls).toBe(true);
  });

  it('{} is 400 with the legacy error', async () => {
    const id = await created({});
    expect(await update(id, {})).toMatchObject({
      status: 400,
      body: { success: false, error: 'No fields to update', code: 'nothing-to-update' },
    });
  });

  it.each([
    ['hots', 'typo.example.com'],
    ['port', 'abc'],
    ['port', null],
    ['host', '169.254.169.254'],
    ['extra_config', null],
  ])('%s %j is 400 and names the field', async (field, value) => {
    const id = await created({});
    expect(await update(id, { [field]: value })).toMatchObject({ status: 400, body: { errors: [{ path: field }] } });
  });

  it('a name that is taken is 409', async () => {
    const id = await created({});
    await created({ name: 'taken' });
    expect(await update(id, { name: 'taken' })).toMatchObject({ status: 409, body: { code: 'broker-name-taken' } });
  });

  it('a drained broker accepts no new devices', async () => {
    const id = await created({ is_default: true });
    await update(id, { accepts_new_devices: false });
    const { key } = await issueKey();
    expect(await register(key, newDevice())).toMatchObject({ status: 503, body: { code: 'no-broker-available' } });
    await update(id, { accepts_new_devices: true });
    expect(await register(key, newDevice())).toMatchObject({ status: 200 });
  });

  it('of two concurrent changes that contradict each other, the second is validated against the first', async () => {
    for (let round = 0; round < 10; round++) {
      const id = await created({});
      const bodies: object[] = [{ protocol: 'mqtts' }, { use_tls: false, port: 1 }];
      const calls = bodies.map((body) => ({ target: `PUT ${path}/${id}`, options: { headers: admin, body } }));
      const [first, second] = await Promise.all(calls.map(({ target, options }) => call(target, options)));
      expect(first?.status).toBe(200);
      expect([200, 400]).toContain(second?.status);
      expect(await row(id)).toMatchObject({ protocol: 'mqtts', use_tls: true });
    }
  });

  it('concurrent changes of different fields are all kept', async () => {
    const id = await created({});
    const fields = ['port', 'keep_alive', 'reconnect_period', 'connect_timeout', 'allocation_weight'];
    const answers = await callConcurrently(
      fields.map((field, i) => ({
        target: `PUT ${path}/${id}`,
        options: { headers: admin, body: { [field]: 1_000 - (i === 3 ? 0 : i) } },
      })),
      fields.length,
    );
    expect(answers.map(({ status }) => status)).toEqual(fields.map(() => 200));
    expect(await row(id)).toMatchObject({
      port: 1000,
      keep_alive: 999,
      reconnect_period: 998,
      connect_timeout: 1000,
      allocation_weight: 996,
    });
  });
});

describe('secrets', () => {
  it('are sealed, bound to their row, and never in a reply or a log line', async () => {
    const lines: string[] = [];
    const spies = [process.stdout, process.stderr].map((stream) =>
      vi.spyOn(stream, 'write').mockImplementation((chunk) => lines.push(String(chunk)) > 0),
    );
    log.setLogLevel('DEBUG');
    const secrets = ['s3cret-Passw0rd', ...client.key.split('\n').filter((line) => line.length > 40)];
    const answers: Answer[] = [];
    try {
      const body = {
        username: 'u',
        password: secrets[0],
        client_cert: client.cert,
        client_key: client.key,
        is_default: true,
      };
      answers.push(await create({ ...newBroker, ...body }));
      const { id } = answers[0]?.body.data ?? {};
      answers.push(
        await create({ ...newBroker, ...body }),
        await update(id, body),
        await get(''),
        await get('/summary'),
      );
      answers.push(
        await get(`/${id}`),
        await update(id, { ...body, port: 'x' }),
        await update(id, { ...body, client_cert: null }),
      );
      answers.push(
        await update(id, { ...body, password: { of: secrets[0] } }),
        await create(JSON.stringify(body).slice(0, -1)),
      );
      answers.push(await call(`POST ${path}/${id}/test`, { headers: admin }));
      await berth.sql(
        `create or replace function fail() returns trigger language plpgsql as $$ begin raise exception 'in the middle %', new; end $$`,
      );
      await berth.sql('create trigger fail before update on mqtt_broker_config for each row execute function fail()');
      answers.push(await update(id, body));
    } finally {
      log.setLogLevel('SILENT');
      await berth.sql('drop trigger if exists fail on mqtt_broker_config');
      for (const spy of spies) spy.mockRestore();
    }
    expect(answers.map(({ status }) => status)).toEqual([201, 409, 200, 200, 200, 200, 400, 400, 400, 400, 200, 500]);
    expect(lines.join('')).toContain('unexpected failure');
    for (const secret of secrets) {
      expect(lines.join('')).not.toContain(secret);
      for (const { text } of answers) expect(text).not.toContain(secret);
    }
    const stored = await row(answers[0]?.body.data.id);
    expect(stored).toMatchObject({
      password_sealed: expect.stringMatching(/^1\$[\w-]{16}\$[\w-]+\$[\w-]{22}$/),
      client_key_sealed: expect.stringMatching(/^1\$/),
      client_key: null,
      password_hash: null,
    });
    for (const secret of secrets) expect(JSON.stringify(stored)).not.toContain(secret);
  });

  it('of the legacy service are never returned, and are removed when new ones are sent', async () => {
    const id = await addBroker(berth, {
      client_cert: client.cert,
      client_key: client.key,
      password_hash: 'HASH',
      username: 'u',
    });
    const { body, text } = await get(`/${id}`);
    expect(body.data).toMatchObject({ has_password: false, has_client_key: true });
    expect(text).not.toMatch(/PRIVATE KEY|HASH/);
    await update(id, { client_cert: client.cert, client_key: client.key, password: 'p' });
    expect(await row(id)).toMatchObject({ client_key: null, password_hash: null });
  });

  it('without BERTH_SEAL_KEY are 422 with what to do; brokers without secrets are accepted', async () => {
    setEnv({});
    const login = { username: 'u', password: 'p' };
    expect(await create({ ...newBroker, ...login })).toMatchObject({
      status: 422,
      body: {
        success: false,
        code: 'sealing-not-configured',
        message: expect.stringContaining('Send the request without them'),
      },
    });
    const id = await created({});
    expect(await update(id, login)).toMatchObject({ status: 422 });
    expect(await update(id, { client_cert: client.cert, client_key: client.key })).toMatchObject({ status: 422 });
  });

  it('sealed with a removed key are 409 when they are needed', async () => {
    const id = await created({ client_cert: client.cert, client_key: client.key });
    setEnv({ BERTH_SEAL_KEY: `2:${randomBytes(32).toString('hex')}` });
    expect(await update(id, { client_cert: client.cert })).toMatchObject({
      status: 409,
      body: { code: 'unsealing-failed' },
    });
    expect(await update(id, { port: 5 })).toMatchObject({ status: 200 });
    expect(await update(id, { client_cert: client.cert, client_key: client.key })).toMatchObject({ status: 200 });
    setEnv({ BERTH_SEAL_KEY: `3:${randomBytes(32).toString('hex')}` });
    expect(await update(id, { client_cert: client.cert })).toMatchObject({ status: 409 });
  });

  it('a password without a user name is 400', async () => {
    expect(await create({ ...newBroker, password: 'p' })).toMatchObject({
      status: 400,
      body: { errors: [{ path: 'username' }] },
    });
    const id = await created({ username: 'u', password: 'p' });
    expect(await update(id, { username: null })).toMatchObject({ status: 400 });
    expect(await update(id, { username: null, password: null })).toMatchObject({
      status: 200,
      body: { data: { has_password: false } },
    });
  });
});

describe('the default', () => {
  it('replaces the former default, on create and on update', async () => {
    const first = await created({ is_default: true });
    const second = await created({ is_default: true });
    expect(await defaults()).toEqual([second]);
    await berth.sql(`update mqtt_broker_config set updated_at = '2020-01-01'`);
    expect(await update(first, { is_default: true })).toMatchObject({
      status: 200,
      body: { data: { is_default: true } },
    });
    expect(await defaults()).toEqual([first]);
    expect((await row(second))?.updated_at.getFullYear()).toBeGreaterThan(2020);
    expect(await update(first, { is_default: true })).toMatchObject({ status: 200 });
    expect(await defaults()).toEqual([first]);
  });

  it('must be active', async () => {
    const first = await created({ is_default: true });
    const resting = await created({ is_active: false });
    for (const reply of [
      await update(resting, { is_default: true }),
      await update(first, { is_default: true, is_active: false }),
      await create({ ...newBroker, is_default: true, is_active: false }),
    ]) {
      expect(reply).toMatchObject({ status: 422, body: { code: 'default-broker-inactive' } });
    }
    expect(await update(resting, { is_default: true, is_active: true })).toMatchObject({ status: 200 });
    expect(await defaults()).toEqual([resting]);
  });

  it('10 concurrent clients make 10 brokers the default: there is always exactly one, and no request fails', async () => {
    const ids: number[] = [];
    for (let i = 0; i < 10; i++) ids.push(await created({ is_default: i === 0 }));
    let watching = true;
    const seen = new Set<number>();
    const watch = (async () => {
      while (watching) seen.add((await defaults()).length);
    })();
    const rounds = Array.from({ length: 5 }, () => ids).flat();
    const answers = await callConcurrently(
      rounds.map((id) => ({ target: `PUT ${path}/${id}`, options: { headers: admin, body: { is_default: true } } })),
      10,
    );
    watching = false;
    await watch;
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect([...seen]).toEqual([1]);
    expect(await defaults()).toHaveLength(1);
  });

  const LOCK_WAITERS = `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  const lockWaiters = async () => (await berth.sql(LOCK_WAITERS))[0]?.n;

  /** Lets the calls, from one instance each, wait for a lock on the default's row, then releases them simultaneously. */
  async function together(calls: ConcurrentCall[]): Promise<Answer[]> {
    const instances = await startInstances(calls.length);
    const gate = new pg.Client({ connectionString: berth.databaseUrl });
    try {
      await gate.connect();
      await gate.query('begin');
      await gate.query('select from mqtt_broker_config where is_default for update');
      const answers = Promise.all(calls.map(({ target, options }, i) => instances[i]?.call(target, options)));
      await expect.poll(lockWaiters, { timeout: 4_000 }).toBe(calls.length);
      await gate.query('commit');
      return (await answers) as Answer[];
    } finally {
      await gate.end();
      await Promise.all(instances.map((instance) => instance.stop()));
    }
  }

  it('requests that have all read the same default succeed one after the other, and one default remains', async () => {
    const first = await created({ is_default: true });
    const others = [await created({}), await created({}), await created({})];
    const headers = admin;
    const answers = await together([
      ...others.map((id) => ({ target: `PUT ${path}/${id}`, options: { headers, body: { is_default: true } } })),
      ...[1, 2, 3].map((n) => ({
        target: `POST ${path}`,
        options: { headers, body: { ...newBroker, name: `race-${n}`, is_default: true } },
      })),
      { target: `PUT ${path}/${first}`, options: { headers, body: { is_active: false } } },
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 201, 201, 201, 200]);
    expect(await berth.sql('select is_active from mqtt_broker_config where is_default')).toEqual([{ is_active: true }]);
  });

  const withdrawals: [string, (id: number, force?: boolean) => Promise<Answer>][] = [
    ['made inactive', (id, force) => update(id, { is_active: false }, force ? { force: 'true' } : undefined)],
    ['un-defaulted', (id, force) => update(id, { is_default: false }, force ? { force: 'true' } : undefined)],
    ['deleted', (id, force) => remove(id, force ? { force: 'true' } : undefined)],
  ];
  it.each(withdrawals)('cannot be %s without force while devices have no other broker', async (_, withdraw) => {
    const id = await created({ is_default: true });
    await deviceOn(null);
    expect(await withdraw(id)).toMatchObject({
      status: 409,
      body: { success: false, code: 'broker-needed', devices_count: '1' },
    });
    expect(await row(id)).toMatchObject({ is_default: true, is_active: true });
    expect(await withdraw(id, true)).toMatchObject({ status: 200, body: { success: true } });
  });

  it.each(withdrawals.filter(([how]) => how !== 'un-defaulted'))(
    'a broker that is not the default cannot be %s without force while devices have no other broker',
    async (how, withdraw) => {
      const id = await created({});
      const { id: keyId } = await issueKey({ default_broker_id: id });
      await berth.sql('insert into devices (uuid, provisioned_by_key_id) values ($1, $2)', [newDevice().uuid, keyId]);
      // Deletion requires that assigned devices are moved first, with force too.
      if (how === 'made inactive') await deviceOn(id);
      const count = how === 'made inactive' ? '2' : '1';
      expect(await withdraw(id)).toMatchObject({ status: 409, body: { code: 'broker-needed', devices_count: count } });
      expect(await row(id)).toMatchObject({ is_active: true });
      expect(await update(id, { is_default: false, description: 'x' })).toMatchObject({ status: 200 });
      expect(await withdraw(id, true)).toMatchObject({ status: 200 });

      await berth.sql('delete from devices');
      const again = await created({});
      const { id: nextKey } = await issueKey({ default_broker_id: again });
      await berth.sql('insert into devices (uuid, provisioned_by_key_id) values ($1, $2)', [newDevice().uuid, nextKey]);
      await created({ is_default: true });
      const noticed = how === 'made inactive' ? { status: 409, body: { code: 'broker-has-devices' } } : { status: 200 };
      expect(await withdraw(again), 'there is a default').toMatchObject(noticed);
    },
  );

  const withdrawn = { headers: admin, body: { is_active: false } };
  it.each([
    ['made inactive', (id: number) => ({ target: `PUT ${path}/${id}`, options: withdrawn })],
    [
      'deleted',
      (id: number) => ({
        target: `DELETE ${path}/${id}`,
        options: { headers: admin, query: { reassign_to: 'default' } },
      }),
    ],
  ])('of the last two brokers, simultaneously %s, one remains', { timeout: 60_000 }, async (_, call) => {
    const brokerCounts = `select count(*) filter (where is_active)::int as n from mqtt_broker_config`;
    const instances = await startInstances(2);
    const gate = new pg.Client({ connectionString: berth.databaseUrl });
    await gate.connect();
    try {
      for (let round = 0; round < 5; round++) {
        await berth.sql('delete from devices');
        await berth.sql('delete from mqtt_broker_config');
        const ids = [await created({ is_default: true }), await created({})];
        await deviceOn(ids[1] as number);
        // Both requests have read both brokers before one of them is withdrawn.
        await gate.query('begin');
        await gate.query('select from mqtt_broker_config for update');
        const answers = Promise.all(
          ids.map((id, i) => {
            const { target, options } = call(id);
            return instances[i]?.call(target, options);
          }),
        );
        await expect.poll(lockWaiters, { timeout: 4_000 }).toBeGreaterThan(0);
        await sleep(200);
        await gate.query('commit');
        const [kept, refused] = (await answers).map((answer) => answer?.status).toSorted();
        // 422: its device cannot go to the default, which the other request has deleted.
        expect([kept, refused === 409 || refused === 422], `round ${round}`).toEqual([200, true]);
        expect(await berth.sql(brokerCounts)).toEqual([{ n: 1 }]);
      }
    } finally {
      await gate.end();
      await stopInstances(instances);
    }
  });

  it('a withdrawal waits until another one has ended', async () => {
    const id = await created({ is_default: true });
    await berth.sql(`
      insert into leases values ('broker-withdrawal', 'another request', 1, now() + interval '700 ms')
      on conflict (name) do update set holder = excluded.holder, until = excluded.until`);
    const started = Date.now();
    expect(await update(id, { is_active: false })).toMatchObject({ status: 200 });
    expect(Date.now() - started).toBeGreaterThan(600);
    await berth.sql(
      `update leases set holder = 'a third', until = now() + interval '1 minute' where name = 'broker-withdrawal'`,
    );
    try {
      expect(await remove(id)).toMatchObject({ status: 409, body: { code: 'broker-changing' } });
      expect(await update(id, { is_active: true, description: 'no withdrawal' })).toMatchObject({ status: 200 });
      expect(await remove(id, { force: 'true' })).toMatchObject({ status: 200 });
    } finally {
      await berth.sql('delete from leases');
    }
  });

  it('a change that does not depend on the number of devices does not wait for their count', async () => {
    const id = await created({ is_default: true });
    const other = await created({});
    const gate = new pg.Client({ connectionString: berth.databaseUrl });
    await gate.connect();
    await gate.query('begin; lock table devices in access exclusive mode');
    try {
      const [known, unknown] = [{ devices_affected: 0 }, { devices_affected: null }];
      expect(await update(id, { description: 'new', is_active: true })).toMatchObject({ status: 200, body: known });
      expect(await update(id, { is_active: false }, { force: 'true' })).toMatchObject({ status: 200, body: unknown });
      expect(await update(id, { is_active: false, port: 4 })).toMatchObject({ status: 200, body: known });
      expect(await update(other, { is_default: true })).toMatchObject({ status: 200, body: unknown });
    } finally {
      await gate.end();
    }
  });

  it('a broker that becomes the default while its deletion waits for the row is kept for the devices that follow it', async () => {
    const former = await created({ is_default: true });
    const id = await created({});
    await deviceOn(null);
    const other = new pg.Client({ connectionString: berth.databaseUrl });
    await other.connect();
    await other.query('begin');
    await other.query('update mqtt_broker_config set is_default = false where id = $1', [former]);
    await other.query('update mqtt_broker_config set is_default = true where id = $1', [id]);
    const removing = remove(id);
    await expect.poll(lockWaiters, { timeout: 4_000 }).toBe(1);
    await other.query('commit');
    await other.end();
    expect(await removing).toMatchObject({ status: 409, body: { code: 'broker-needed', devices_count: '1' } });
    expect(await row(id)).toMatchObject({ is_default: true });
  });

  it.each(withdrawals)('can be %s while the devices have another broker or MQTT_BROKER_URL', async (how, withdraw) => {
    const id = await created({ is_default: true });
    const other = await created({});
    await deviceOn(other);
    expect(await withdraw(id)).toMatchObject({ status: 200 });
    const again = await created({ is_default: true });
    await deviceOn(null);
    setEnv({ BERTH_SEAL_KEY: SEAL_KEY, MQTT_BROKER_URL: 'mqtt://fallback:1883' });
    const noticed = how === 'made inactive' ? { status: 409, body: { code: 'broker-has-devices' } } : { status: 200 };
    expect(await withdraw(again)).toMatchObject(noticed);
  });
});

describe('deleting', () => {
  it('returns 200 and deletes the broker', async () => {
    const id = await created({});
    expect(await remove(id)).toMatchObject({ status: 200, body: { success: true, message: expect.any(String) } });
    expect(await remove(id)).toMatchObject({ status: 404 });
  });

  it('a broker in use is 409 with the number of devices, with and without force', async () => {
    const id = await created({});
    for (let i = 0; i < 3; i++) await deviceOn(id);
    for (const query of [undefined, { force: 'true' }]) {
      expect(await remove(id, query)).toMatchObject({
        status: 409,
        body: { success: false, code: 'broker-in-use', devices_count: '3', error: expect.any(String) },
      });
    }
    expect(await row(id)).toBeDefined();
  });

  describe('while devices that were moved away may still use it', () => {
    /** A device that was handed the first broker and belongs to the second. */
    const leftBehind = async (columns = 'handed_broker_id = $1, handed_at = now()') => {
      const [id, other] = [await created({}), await created({})];
      const uuid = await deviceOn(other);
      await berth.sql(`update devices set ${columns} where uuid = $2 and $1::integer is not null`, [id, uuid]);
      return { id, other, uuid };
    };

    it('is 409 with their number, with and without reassign_to; force deletes it', async () => {
      const { id, other, uuid } = await leftBehind();
      for (const query of [undefined, { reassign_to: String(other) }]) {
        expect(await remove(id, query)).toMatchObject({
          status: 409,
          body: { code: 'broker-has-devices', devices_count: '1', devices_former: 1, error: 'Broker has devices' },
        });
      }
      expect(await row(id)).toBeDefined();
      expect(await remove(id, { force: 'true' })).toMatchObject({ status: 200 });
      expect(await berth.sql('select uuid from mqtt_device_brokers where broker_id = $1', [id])).toEqual([]);
      expect(await berth.sql('select mqtt_broker_id from devices where uuid = $1', [uuid])).toEqual([
        { mqtt_broker_id: other },
      ]);
    });

    it('counts former brokers, devices whose row does not say what they were handed, and keys with a broker', async () => {
      const { id, other } = await leftBehind();
      const uuid = await deviceOn(other);
      await berth.sql(
        `update devices set handed_broker_id = mqtt_broker_id, handed_at = now(), former_broker_ids = $1,
           former_until = now() + interval '1 hour' where uuid = $2`,
        [[id], uuid],
      );
      // Nobody knows what these were handed: the default of the time when they registered is one possibility.
      await deviceOn(other);
      await berth.sql(`update mqtt_broker_config set default_until = now() + interval '1 s' where id = $1`, [id]);
      expect((await remove(id)).body.devices_former).toBe(3);
    });

    it.each([
      ['that was handed another broker', 'handed_broker_id = mqtt_broker_id, handed_at = now()'],
      ['whose row does not say it, if the broker never was the default', 'handed_broker_id = null'],
      ['that was closed out', `handed_broker_id = $1, handed_at = now(), former_closed_at = now() + interval '1 s'`],
    ])('a device %s does not prevent it', async (_, columns) => {
      const { id } = await leftBehind(columns);
      expect(await remove(id)).toMatchObject({ status: 200 });
    });

    it('counts 10,000 of them at most', async () => {
      const { id, other } = await leftBehind();
      await berth.sql(
        `insert into devices (uuid, mqtt_broker_id, handed_broker_id, handed_at)
         select 'd' || n, $1, $2, now() from generate_series(1, 10000) n`,
        [other, id],
      );
      expect((await remove(id)).body).toMatchObject({
        devices_former: 10_000,
        detail: expect.stringMatching(/^10000 or more devices/),
      });
    });

    it('an inactive broker accepts nobody, so it can be deleted', async () => {
      const { id } = await leftBehind();
      await berth.sql('update mqtt_broker_config set is_active = false where id = $1', [id]);
      expect(await remove(id)).toMatchObject({ status: 200 });
    });

    it('followers of the default that is deleted do not count, those that a key sends elsewhere do', async () => {
      const { id, other } = await leftBehind();
      await update(id, { is_default: true });
      setEnv({ BERTH_SEAL_KEY: SEAL_KEY, MQTT_BROKER_URL: 'mqtt://fallback:1883' });
      const [follower, keyed] = [await deviceOn(null), await deviceOn(null)];
      const { id: key } = await issueKey({ default_broker_id: other });
      await berth.sql(`update devices set handed_broker_id = $1, handed_at = now() where uuid = any($2)`, [
        id,
        [follower, keyed],
      ]);
      await berth.sql('update devices set provisioned_by_key_id = $1 where uuid = $2', [key, keyed]);
      expect((await remove(id)).body.devices_former).toBe(2);
    });
  });

  it('reassign_to=ID moves its devices and records each move', async () => {
    const id = await created({});
    const target = await created({});
    const elsewhere = await deviceOn(target);
    const uuids = [await deviceOn(id), await deviceOn(id)].sort();
    expect(await remove(id, { reassign_to: String(target) })).toMatchObject({
      status: 200,
      body: { devices_moved: 2 },
    });
    const events = await berth.sql('select * from device_events order by device_uuid');
    expect(events).toMatchObject(
      uuids.map((device_uuid) => ({
        type: 'moved',
        device_uuid,
        fleet_id: 'fleet-a',
        actor: 'admin',
        reason: 'broker deleted',
        from_broker_id: id,
        to_broker_id: target,
        source_ip: '198.51.100.7',
        request_id: expect.any(String),
      })),
    );
    const moved = await berth.sql('select * from devices where uuid <> $1', [elsewhere]);
    for (const device of moved) {
      expect(device).toMatchObject({ mqtt_broker_id: target, mqtt_broker_assigned_at: expect.any(Date) });
    }
    expect(await row(id)).toBeUndefined();
  });

  it('reassign_to=default ends their assignment', async () => {
    const id = await created({});
    await created({ is_default: true });
    const uuid = await deviceOn(id);
    expect(await remove(id, { reassign_to: 'default' })).toMatchObject({ status: 200, body: { devices_moved: 1 } });
    expect(await berth.sql('select mqtt_broker_id from devices')).toEqual([{ mqtt_broker_id: null }]);
    expect(await berth.sql('select device_uuid, from_broker_id, to_broker_id from device_events')).toEqual([
      { device_uuid: uuid, from_broker_id: id, to_broker_id: null },
    ]);
  });

  it('a target that is unknown, inactive or the broker itself, or a missing default, is 422 and moves nothing', async () => {
    const id = await created({});
    const resting = await created({ is_active: false });
    await deviceOn(id);
    for (const reassign_to of ['999999', String(resting), String(id), 'default']) {
      expect(await remove(id, { reassign_to }), reassign_to).toMatchObject({
        status: 422,
        body: { success: false, code: 'reassign-target-unusable' },
      });
    }
    for (const reassign_to of ['0', '-1', '2147483648', 'x', '']) {
      expect(await remove(id, { reassign_to })).toMatchObject({
        status: 400,
        body: { errors: [{ path: 'reassign_to' }] },
      });
    }
    expect(await berth.sql('select mqtt_broker_id from devices')).toEqual([{ mqtt_broker_id: id }]);
    expect(await berth.sql('select from device_events')).toEqual([]);
  });

  it('deleting the default moves its devices to the target, and is 409 if other devices would be left without a broker', async () => {
    const id = await created({ is_default: true });
    const target = await created({});
    await deviceOn(id);
    const unassigned = await deviceOn(null);
    const query = { reassign_to: String(target) };
    expect(await remove(id, query)).toMatchObject({ status: 409, body: { code: 'broker-needed', devices_count: '1' } });
    expect(await remove(id, { reassign_to: 'default' })).toMatchObject({ status: 409, body: { devices_count: '2' } });
    await berth.sql('delete from devices where uuid = $1', [unassigned]);
    expect(await remove(id, query)).toMatchObject({ status: 200, body: { devices_moved: 1 } });
  });

  it('more devices than one request moves are 409', async () => {
    const id = await created({});
    const target = await created({});
    await berth.sql(`insert into devices (uuid, mqtt_broker_id) select 'd' || n, $1 from generate_series(1, 10001) n`, [
      id,
    ]);
    const query = { reassign_to: String(target) };
    expect(await remove(id, query)).toMatchObject({
      status: 409,
      body: { code: 'broker-in-use', devices_count: '10001' },
    });
    await berth.sql(`delete from devices where uuid = 'd1'`);
    expect(await remove(id, query)).toMatchObject({ status: 200, body: { devices_moved: 10_000 } });
  });

  it('while devices register with it: all are registered and resolve to a broker', async () => {
    const fallback = await created({ is_default: true });
    const doomed = await created({});
    const { key } = await issueKey({ default_broker_id: doomed, maxDevices: 500 });
    const devices = Array.from({ length: 120 }, () => newDevice());
    const calls = devices.map((body) => ({
      target: 'POST /api/v1/device/register',
      options: { headers: { authorization: `Bearer ${key}` }, body: body as object },
    }));
    const removal = {
      target: `DELETE ${path}/${doomed}`,
      options: { headers: admin, query: { reassign_to: String(fallback) }, body: {} },
    };
    calls.splice(56, 0, removal as never);
    const answers = await callConcurrently(calls, 16);
    const statuses = answers.map(({ status, body }) => `${status} ${body.code ?? ''}`);
    expect(new Set(statuses)).toEqual(new Set(['200 ']));
    expect(await row(doomed)).toBeUndefined();
    const places = await berth.sql('select distinct mqtt_broker_id from devices');
    expect(places.map(({ mqtt_broker_id }) => [fallback, null].includes(mqtt_broker_id))).not.toContain(false);
    expect(await berth.sql('select count(*)::int from devices')).toEqual([{ count: 120 }]);
  });
});

it('every route requires the admin credential', async () => {
  const routes = [`GET ${path}`, `GET ${path}/summary`, `GET ${path}/1`, `POST ${path}`, `PUT ${path}/1`];
  for (const route of [...routes, `DELETE ${path}/1`, `POST ${path}/1/test`]) {
    expect(await call(route, { body: '{' })).toMatchObject({ status: 401, body: { success: false } });
  }
});
