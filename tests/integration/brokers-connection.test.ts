import { createHash, randomBytes } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, call } from '../support/api.ts';
import { addBroker, admin, type Berth, setEnv, startBerth } from '../support/berth.ts';
import { type Authority, createAuthority, type Pair } from '../support/certificates.ts';
import { callConcurrently } from '../support/concurrent-calls.ts';
import { type MqttServerOptions, PASSWORD, startMqttServer, USERNAME } from '../support/mqtt-servers.ts';
import { serve } from '../support/serve.ts';

const path = '/api/v1/mqtt/brokers';
const SEAL_KEY = randomBytes(32).toString('base64');

let berth: Berth;
let authority: Authority;
let server: Pair;
beforeAll(async () => {
  berth = await startBerth();
  authority = await createAuthority('Test CA');
  server = await authority.issue({ commonName: 'broker', hosts: ['localhost', '127.0.0.1'] });
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({ BERTH_SEAL_KEY: SEAL_KEY, BERTH_STAGE: 'local' });
  await berth.sql('delete from mqtt_broker_config');
});

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close();
});

/** Starts a real broker, and closes it after the test. */
async function broker(options: MqttServerOptions) {
  const started = await startMqttServer(options);
  closing.push(started);
  return started;
}

/** Starts a TCP server, and closes it after the test. */
async function tcpServer(onConnection: (socket: Socket) => void) {
  const started = await serve(createServer(onConnection));
  closing.push(started);
  return started;
}

async function add(fields: object): Promise<number> {
  const body = { name: `b-${randomBytes(4).toString('hex')}`, host: 'localhost', ...fields };
  const reply = await call(`POST ${path}`, { headers: admin, body });
  expect(reply.status, reply.text).toBe(201);
  return reply.body.data.id;
}

const login = { username: USERNAME, password: PASSWORD };
const test = (id: number): Promise<Answer> => call(`POST ${path}/${id}/test`, { headers: admin });

/** Adds a broker and tests it. */
async function tested(fields: object): Promise<Answer> {
  return test(await add({ ...login, ...fields }));
}

/** The reply for a broker that cannot be reached. */
const unreachable = (stage: string, problem: string) => ({
  status: 200,
  body: { success: true, data: { reachable: false, stage, problem, advice: expect.stringMatching(/.{20}/) } },
});

describe('a broker is reached', () => {
  it.each(['mqtt', 'mqtts', 'ws', 'wss'] as const)('by %s, with the right credentials', async (protocol) => {
    const { port, clients, open } = await broker({ protocol, tls: server });
    const overTls = protocol === 'mqtts' || protocol === 'wss';
    const id = await add({ ...login, protocol, port, ...(overTls ? { ca_cert: authority.cert } : {}) });
    const other = await addBroker(berth);
    const { status, body } = await test(id);
    expect(status).toBe(200);
    expect(body).toEqual({
      success: true,
      message: 'Connection succeeded',
      broker: { protocol, host: 'localhost', port, username: USERNAME, has_password: true, use_tls: overTls },
      data: {
        reachable: true,
        ...(overTls
          ? {
              tls: {
                version: 'TLSv1.3',
                subject: 'CN=broker',
                issuer: 'CN=Test CA',
                expiresAt: expect.stringMatching(/^20\d\d-.*Z$/),
                verified: true,
                chain: ['CN=broker', 'CN=Test CA'],
              },
            }
          : {}),
        connack: { reasonCode: 0, meaning: 'accepted' },
        latencyMs: {
          dns: expect.any(Number),
          tcp: expect.any(Number),
          ...(overTls ? { tls: expect.any(Number) } : {}),
          connack: expect.any(Number),
        },
      },
    });
    expect(clients).toEqual([expect.stringMatching(/^berth-test-[0-9a-f]{12}$/)]);
    await expect.poll(open, { message: 'it closes the connection' }).toBe(0);
    expect(
      await berth.sql(
        `select id, last_connected_at > now() at time zone 'utc' - interval '10 s' as now from mqtt_broker_config order by id`,
      ),
    ).toEqual([
      { id, now: true },
      { id: other, now: null },
    ]);
  });

  it('with a client certificate, if the broker requires one', async () => {
    const client = await authority.issue({ commonName: 'berth' });
    const tls = { ...server, ca: authority.cert, requestCert: true, rejectUnauthorized: true };
    const { port } = await broker({ protocol: 'mqtts', tls });
    const fields = { protocol: 'mqtts', port, ca_cert: authority.cert };
    expect(await tested({ ...fields, client_cert: client.cert, client_key: client.key })).toMatchObject({
      body: { data: { reachable: true } },
    });
    expect(await tested(fields)).toMatchObject(unreachable('tls', 'client-certificate-refused'));
    // The legacy service stored the key as plain PEM.
    const { cert, key } = client;
    const legacy = await add({ ...login, ...fields });
    await berth.sql('update mqtt_broker_config set client_cert = $1, client_key = $2 where id = $3', [
      cert,
      key,
      legacy,
    ]);
    expect(await test(legacy)).toMatchObject({ body: { data: { reachable: true } } });
  });

  it('with verify_certificate false, and the problem of the certificate is reported', async () => {
    const { port } = await broker({ protocol: 'mqtts', tls: server });
    expect(await tested({ protocol: 'mqtts', port, verify_certificate: false })).toMatchObject({
      body: { data: { reachable: true, tls: { verified: false, problem: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' } } },
    });
  });

  it('at an IP address, with a certificate for it', async () => {
    const { port } = await broker({ protocol: 'mqtts', tls: server });
    const fields = { host: '127.0.0.1', protocol: 'mqtts', port, ca_cert: authority.cert };
    expect(await tested(fields)).toMatchObject({ body: { data: { reachable: true, tls: { verified: true } } } });
  });
});

describe('a broker refuses', () => {
  it.each(['mqtt', 'wss'] as const)('a wrong password by %s is CONNACK 4', async (protocol) => {
    const { port } = await broker({ protocol, tls: server });
    const fields = { protocol, port, password: 'wrong', ...(protocol === 'wss' ? { ca_cert: authority.cert } : {}) };
    const reply = await tested(fields);
    expect(reply).toMatchObject(unreachable('connack', 'wrong-credentials'));
    expect(reply.body.data.connack).toEqual({ reasonCode: 4, meaning: 'bad user name or password' });
    const rows = await berth.sql('select last_connected_at from mqtt_broker_config');
    expect(rows).toEqual([{ last_connected_at: null }]);
  });

  it.each([
    [2, 'client-id-rejected'],
    [3, 'server-unavailable'],
    [5, 'not-authorised'],
  ] as const)('CONNACK %i is %s', async (refuseWith, problem) => {
    const { port } = await broker({ protocol: 'mqtt', refuseWith });
    const reply = await tested({ port });
    expect(reply).toMatchObject(unreachable('connack', problem));
    expect(reply.body.data.connack.reasonCode).toBe(refuseWith);
  });

  it.each([4, 5] as const)('CONNACK %i without a stored username is no-credentials', async (refuseWith) => {
    const { port } = await broker({ protocol: 'mqtt', refuseWith });
    const reply = await tested({ port, username: null, password: null });
    expect(reply).toMatchObject(unreachable('connack', 'no-credentials'));
    expect(reply.body.broker).toMatchObject({ username: null, has_password: false });
  });

  it('CONNACK 1 is protocol-version', async () => {
    const { port } = await tcpServer((socket) => socket.once('data', () => socket.write(Buffer.of(0x20, 2, 0, 1))));
    expect(await tested({ port })).toMatchObject(unreachable('connack', 'protocol-version'));
  });

  it('with only a legacy bcrypt hash no CONNECT is sent: password-unknown', async () => {
    const { port, clients } = await broker({ protocol: 'mqtt' });
    const id = await addBroker(berth, { host: 'localhost', port, username: USERNAME, password_hash: '$2b$10$x' });
    const reply = await test(id);
    expect(reply).toMatchObject(unreachable('connack', 'password-unknown'));
    expect(reply.body).toMatchObject({
      message: 'Connection failed: password-unknown',
      broker: { has_password: true },
    });
    expect(clients).toEqual([]);
  });
});

describe('a broker is not reached', () => {
  it('a name that does not resolve', async () => {
    expect(await tested({ host: 'nowhere.invalid', port: 1883 })).toMatchObject({
      status: 200,
      body: { data: { reachable: false, stage: 'dns', problem: expect.stringMatching(/^(name-not-found|dns-)/) } },
    });
  });

  it('a closed port', async () => {
    const gone = await serve(createServer());
    await gone.close();
    expect(await tested({ host: '127.0.0.1', port: gone.port })).toMatchObject(
      unreachable('tcp', 'connection-refused'),
    );
  });

  it.each([
    ['mqtt', 'connack', 'connack-timeout'],
    ['ws', 'connack', 'connack-timeout'],
    ['mqtts', 'tls', 'tls-timeout'],
  ])('a %s server that does not answer: the test ends within 10 s', async (protocol, stage, problem) => {
    const { port, open } = await tcpServer((socket) => socket.resume());
    const started = Date.now();
    expect(await tested({ protocol, port })).toMatchObject(unreachable(stage, problem));
    expect(Date.now() - started).toBeLessThan(10_000);
    await expect.poll(open).toBe(0);
  });

  it('an address that does not answer: the test ends within 10 s', async () => {
    const started = Date.now();
    // TEST-NET-1 is not routed: packets are dropped, or the network answers that there is no route.
    const { body } = await tested({ host: '192.0.2.1', port: 1883 });
    expect(body.data).toMatchObject({ reachable: false, stage: 'tcp' });
    expect(Date.now() - started).toBeLessThan(10_000);
  });

  it.each([
    ['closes the connection', (socket: Socket) => socket.end(), 'closed'],
    ['resets the connection', (socket: Socket) => socket.once('data', () => socket.resetAndDestroy()), 'closed'],
    [
      'answers something else',
      (socket: Socket) => socket.once('data', () => socket.write('HTTP/1.1 400 Bad\r\n\r\n')),
      'not-mqtt',
    ],
  ])('a server that %s', async (_, behaviour, problem) => {
    const { port } = await tcpServer(behaviour);
    expect(await tested({ port })).toMatchObject(unreachable('connack', problem));
  });

  it('a web server without MQTT over WebSocket', async () => {
    const web = await serve(createHttpServer((_, response) => response.writeHead(404).end()));
    closing.push(web);
    const reply = await tested({ protocol: 'ws', port: web.port });
    expect(reply).toMatchObject(unreachable('connack', 'not-mqtt'));
    expect(reply.body.data.advice).toContain('404');
  });

  it('a port that does not speak TLS', async () => {
    const { port } = await tcpServer((socket) => socket.once('data', () => socket.write('220 hello\r\n')));
    expect(await tested({ protocol: 'mqtts', port })).toMatchObject(unreachable('tls', 'not-tls'));
  });

  it('a port that requires TLS', async () => {
    const { port } = await broker({ protocol: 'mqtts', tls: server });
    expect(await tested({ port })).toMatchObject({ body: { data: { reachable: false, stage: 'connack' } } });
  });
});

describe('a server that does not stop sending', () => {
  const packet = Buffer.of(0x20, 0xff, 0xff, 0xff, 0x7f);
  const frame = Buffer.of(0x82, 0x7f, 0, 0, 0, 0, 0x05, 0, 0, 0);
  const upgrade = (request: Buffer) => {
    const [, key] = /sec-websocket-key: (.*)\r\n/i.exec(request.toString()) ?? [];
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const headers = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`];
    return `HTTP/1.1 101 Switching Protocols\r\n${headers.join('\r\n')}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`;
  };

  it.each([
    ['a packet', 'mqtt', () => [packet]],
    ['a frame of a WebSocket', 'ws', (request: Buffer) => [upgrade(request), frame, packet]],
  ] as const)('%s: the test ends after 64 KB as not-mqtt', async (_, protocol, start) => {
    let sent = 0;
    const { port, open } = await tcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (request) => {
        for (const part of start(request)) socket.write(part);
        const flood = () => {
          while (!socket.destroyed && sent < 256 * 1024 * 1024) {
            sent += 65_536;
            if (!socket.write(Buffer.alloc(65_536))) return;
          }
        };
        socket.on('drain', flood);
        flood();
      });
    });
    const reply = await tested({ protocol, port });
    expect(reply).toMatchObject(unreachable('connack', 'not-mqtt'));
    await expect.poll(open).toBe(0);
    // The buffers of both sockets, which the server fills before Berth has read anything.
    expect(sent).toBeLessThan(16 * 1024 * 1024);
  });
});

describe('a certificate is not trusted, and nothing is sent', () => {
  /** Tests a broker with this certificate. It must not receive a CONNECT. */
  async function distrusted(tls: Pair, fields: object, problem: string): Promise<Answer> {
    const { port, clients } = await broker({ protocol: 'mqtts', tls });
    const reply = await tested({ protocol: 'mqtts', port, ca_cert: authority.cert, ...fields });
    expect(reply).toMatchObject(unreachable('tls', problem));
    expect(reply.body.data.tls).toMatchObject({ verified: false, expiresAt: expect.any(String) });
    expect(clients).toEqual([]);
    return reply;
  }

  it('a certificate of another CA: the advice contains its chain', async () => {
    const other = await createAuthority('Other CA');
    const certificate = await other.issue({ commonName: 'impostor', hosts: ['localhost'] });
    const { body } = await distrusted(certificate, {}, 'certificate-untrusted');
    expect(body.data.tls).toMatchObject({ subject: 'CN=impostor', issuer: 'CN=Other CA' });
    expect(body.data.advice).toContain('CN=impostor ← CN=Other CA');
    expect(body.data.advice).toContain('ca_cert');
  });

  it('a certificate of a private CA, without ca_cert', async () => {
    const { body } = await distrusted(server, { ca_cert: null }, 'certificate-untrusted');
    expect(body.data.advice).toContain('no ca_cert');
  });

  it('a certificate of a private CA, when verify_certificate is NULL, as in legacy rows', async () => {
    const { port, clients } = await broker({ protocol: 'mqtts', tls: server });
    const id = await add({ ...login, protocol: 'mqtts', port });
    await berth.sql('update mqtt_broker_config set verify_certificate = null');
    expect(await test(id)).toMatchObject(unreachable('tls', 'certificate-untrusted'));
    expect(clients).toEqual([]);
  });

  it('an expired certificate', async () => {
    const expired = await authority.issue({ commonName: 'broker', hosts: ['localhost'], days: -1 });
    await distrusted(expired, {}, 'certificate-expired');
  });

  it('a certificate for another name', async () => {
    const other = await authority.issue({ commonName: 'broker', hosts: ['mqtt.example.com'] });
    await distrusted(other, {}, 'host-name-mismatch');
  });
});

describe('the test cannot be used as a port scanner', () => {
  it.each(['localhost', '127.0.0.1', '::1', '169.254.169.254', '0.0.0.0'])(
    'outside the local stack it does not connect to %s',
    async (host) => {
      const { port, clients, open } = await broker({ protocol: 'mqtt' });
      const id = await addBroker(berth, { host, port });
      setEnv({ BERTH_SEAL_KEY: SEAL_KEY });
      const reply = await test(id);
      expect(reply).toMatchObject(unreachable('dns', 'address-not-allowed'));
      expect(Object.keys(reply.body.data.latencyMs)).not.toContain('tcp');
      expect([clients.length, open()]).toEqual([0, 0]);
    },
  );

  it('the local stack does not connect to the metadata address either', async () => {
    const id = await addBroker(berth, { host: '169.254.169.254', port: 80 });
    expect(await test(id)).toMatchObject(unreachable('dns', 'address-not-allowed'));
  });

  it('the installation runs one test at a time; the others are 429 with Retry-After', async () => {
    const { port } = await tcpServer((socket) => setTimeout(() => socket.destroy(), 2_000));
    const ids = [await add({ port }), await add({ port }), await add({ port })];
    const answers = await callConcurrently(
      [...ids, ...ids].map((id) => ({ target: `POST ${path}/${id}/test`, options: { headers: admin } })),
      6,
    );
    const running = answers.filter(({ status }) => status === 200);
    expect(running).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status !== 200)) {
      expect(answer).toMatchObject({
        status: 429,
        headers: { 'retry-after': expect.any(String) },
        body: { success: false, code: 'broker-test-running' },
      });
    }
    expect(await test(ids[0] as number), 'the next test runs').toMatchObject({ status: 200 });
  });

  it('the lease of a test that died expires', async () => {
    const { port } = await broker({ protocol: 'mqtt' });
    const id = await add({ ...login, port });
    await berth.sql(`
      insert into leases values ('broker-test', 'dead', 1, now() + interval '1 minute')
      on conflict (name) do update set holder = excluded.holder, until = excluded.until`);
    expect(await test(id)).toMatchObject({ status: 429 });
    await berth.sql(`update leases set until = now() - interval '1 second' where name = 'broker-test'`);
    expect(await test(id)).toMatchObject({ status: 200, body: { data: { reachable: true } } });
  });
});

describe('a stored password is sent only to the receiver that it was stored for', () => {
  const put = (id: number, body: object) => call(`PUT ${path}/${id}`, { headers: admin, body });

  it.each([
    ['host', { host: 'collector.example.com' }],
    ['port', { port: 4 }],
    ['protocol', { protocol: 'wss' }],
    ['ca_cert', { ca_cert: null }],
    ['verify_certificate', { verify_certificate: false }],
  ])('another %s is 400 without the password, and changes nothing', async (field, change) => {
    const port = 8883;
    const id = await add({ ...login, protocol: 'mqtts', port, ca_cert: authority.cert });
    const [before] = await berth.sql('select * from mqtt_broker_config');
    expect(await put(id, change)).toMatchObject({
      status: 400,
      body: {
        success: false,
        code: 'invalid-request',
        errors: [{ path: 'password', message: expect.stringContaining(field) }],
      },
    });
    expect(await berth.sql('select * from mqtt_broker_config')).toEqual([before]);
    expect(await put(id, { ...change, password: PASSWORD })).toMatchObject({ status: 200 });
  });

  it('a changed receiver is accepted when the password is removed, or none is stored', async () => {
    const id = await add({ ...login, port: 1883 });
    expect(await put(id, { host: 'other.example.com', password: null })).toMatchObject({ status: 200 });
    expect(await put(id, { host: 'third.example.com', verify_certificate: false })).toMatchObject({ status: 200 });
  });

  it('a form that sends the same values again needs no password', async () => {
    const same = {
      host: 'localhost',
      port: 8883,
      protocol: 'mqtts',
      ca_cert: authority.cert,
      verify_certificate: false,
    };
    const id = await add({ ...login, ...same });
    expect(await put(id, { ...same, description: 'new' })).toMatchObject({ status: 200 });
    expect(await put(id, { verify_certificate: true })).toMatchObject({ status: 200 });
  });
});

it('a password sealed with a removed key is 409, and does not block the next test', async () => {
  const { port } = await broker({ protocol: 'mqtt' });
  const id = await add({ ...login, port });
  setEnv({ BERTH_SEAL_KEY: `2:${randomBytes(32).toString('hex')}`, BERTH_STAGE: 'local' });
  expect(await test(id)).toMatchObject({ status: 409, body: { success: false, code: 'unsealing-failed' } });
  setEnv({ BERTH_SEAL_KEY: `2:${randomBytes(32).toString('hex')},1:${SEAL_KEY}`, BERTH_STAGE: 'local' });
  expect(await test(id)).toMatchObject({ status: 200, body: { data: { reachable: true } } });
});
