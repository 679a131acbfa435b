import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Broker, startBroker } from '../../local/mqtt-broker.ts';
import { freePort } from '../../local/ports.ts';
import { createAuthority } from '../support/certificates.ts';
import { describeInstalled, pythonWithPaho } from '../support/installed.ts';
import { cloneProject, type Local, localFile, type Program, run, startStack } from '../support/stack.ts';
import { bytesOf, messageOf, openSocket } from '../support/wire.ts';

const PYTHON_DEVICE = new URL('../../examples/python/device.py', import.meta.url);
type Of = () => Local['brokers'][0];

/** Sends the bytes of examples/device/PROTOCOL.md to the local stack, and compares its replies with the page. */
const page = readFileSync(new URL('../../examples/device/PROTOCOL.md', import.meta.url), 'utf8');
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)\\n\`\`\`$`, 'gms'))].map(([, text]) => text as string);
const http = blocks('http');
const UUID = '44faab1a-6b5e-4a53-8f0c-0d8c8b1e4f11';

/** What the page says → what it is in this run, as it stands in the text. */
const actual = new Map<string, string>();
const inThisRun = (text: string) => [...actual].reduce((all, [said, is]) => all.replaceAll(said, is), text);

const clone = cloneProject();
let stack: Program;
let local: Local;
let eu: number;

beforeAll(async () => {
  ({ stack } = await startStack(clone.dir));
  local = localFile(clone.dir) as Local;
  const port = new URL((local.brokers[0] as Local['brokers'][0]).url).port;
  actual.set('localhost:4002', new URL(local.url).host).set('localhost:5883', `localhost:${port}`);
  actual.set('"port":5883', `"port":${port}`);
  actual.set(/prov_\S+/.exec(page)?.[0] as string, local.provisioningKey);
});
afterAll(async () => {
  await stack.end('SIGINT');
  clone.remove();
});

async function operator(method: string, route: string, body?: object) {
  const headers = { authorization: `Bearer ${local.adminToken}` };
  const reply = await fetch(`${local.url}/api/v1${route}`, {
    method,
    headers,
    body: body ? JSON.stringify(body) : null,
  });
  expect(reply.status, route).toBeLessThan(300);
  return reply.json() as Promise<{ data: { id: number } }>;
}

/** Members that are others in each run, and their form. */
const CHANGING: Record<string, RegExp> = {
  id: /^\d+$/,
  brokerId: /^\d+$/,
  createdAt: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  password: /^[\w-]{43}$/,
  version: /^[\w-]{16}$/,
  requestId: /^[0-9a-f-]{36}$/,
};

/** Notes what the values of changing members are in this run. The same value of the page is always the same one here. */
function learn(said: object, is: object): void {
  for (const [name, value] of Object.entries(said)) {
    const here = (is as Record<string, unknown>)[name];
    if (typeof value === 'object' && value && here) learn(value, here);
    if (!(name in CHANGING) || here === undefined) continue;
    for (const one of [value, here]) expect(String(one), name).toMatch(CHANGING[name] as RegExp);
    const isNumber = typeof value === 'number';
    const [from, to] = isNumber ? [`"${name}":${value}`, `"${name}":${here}`] : [String(value), String(here)];
    actual.set(from, actual.get(from) ?? to);
  }
}

const wrongKey = (times: number) => async () => {
  const request = () =>
    fetch(`${local.url}/api/v1/device/${UUID}/mqtt`, { headers: { authorization: 'Bearer wrong' } });
  for (let i = 0; i < times; i++) expect((await request()).status).toBe(401);
};
const brokers = (is_active: boolean) => async () => {
  for (const { id } of [...local.brokers].reverse())
    await operator('PUT', `/mqtt/brokers/${id}?force=true`, { is_active });
  await operator('PUT', `/mqtt/brokers/${eu}?force=true`, { is_active });
};
const device = (body: object) => () => operator('PUT', `/devices/${UUID}`, body);
async function moveToEu(): Promise<void> {
  const ca_cert = JSON.parse(/"caCert":(".*?")/.exec(page)?.[1] as string);
  const broker = { name: 'eu-1', protocol: 'mqtts', host: 'mqtt.example.com', port: 8883, ca_cert };
  eu = (await operator('POST', '/mqtt/brokers', broker)).data.id;
  await device({ mqtt_broker_id: eu })();
}

/** The exchanges of the page in its order; what an operator or somebody else does before, and what the test does after. */
const EXCHANGES: [string, { before?: () => Promise<unknown>; after?: () => Promise<unknown> }][] = [
  ['200: registered', {}],
  ['200: registered again', {}],
  ['304: nothing has changed', {}],
  ['200: moved', { before: moveToEu }],
  ['503', { before: brokers(false), after: brokers(true) }],
  ['403', { before: device({ is_active: false }), after: device({ is_active: true }) }],
  ['401', {}],
  ['429', { before: wrongKey(19) }],
  ['409', {}],
  ['404', { before: () => operator('DELETE', `/devices/${UUID}`) }],
];

const numbered = EXCHANGES.map(([name, hooks], i) => ({
  name,
  hooks,
  request: http[2 * i] ?? '',
  reply: http[2 * i + 1] ?? '',
}));

async function checkExchange({ name, hooks, request, reply }: (typeof numbered)[0]): Promise<void> {
  await hooks.before?.();
  const sent = messageOf(request, '\n');
  if (sent.body) expect(sent.headers['content-length']).toBe(String(Buffer.byteLength(sent.body)));
  const socket = openSocket(Number(new URL(local.url).port));
  const head = request.replace(/\n\n.*$/s, '').replaceAll('\n', '\r\n');
  socket.send(Buffer.from(`${inThisRun(head)}\r\n\r\n${sent.body}`));
  const got = messageOf((await socket.receive()).toString(), '\r\n');
  await hooks.after?.();

  const said = messageOf(reply, '\n');
  expect(said.line).toContain(name.slice(0, 3));
  expect(got.line).toBe(said.line);
  if (said.body) learn(JSON.parse(said.body), JSON.parse(got.body));
  expect(got.body).toBe(inThisRun(said.body));
  // The local gateway adds the character set, that of AWS does not.
  got.headers['content-type'] = got.headers['content-type']?.replace('; charset=utf-8', '') ?? '';
  for (const [field, value] of Object.entries(said.headers)) {
    if (field === 'retry-after') expect(got.headers[field]).toMatch(/^\d+$/);
    else expect(got.headers[field], field).toBe(inThisRun(value));
  }
  for (const field of ['idempotent-replayed', 'etag', 'retry-after'])
    expect(field in said.headers, field).toBe(field in got.headers);
}

/** Sends the lines that begin with →, and expects the bytes of those that begin with ←. */
async function checkPackets(block: string): Promise<void> {
  const socket = openSocket(Number(/"port":(\d+)/.exec(actual.get('"port":5883') ?? '')?.[1]));
  for (const line of inThisRun(block).split('\n')) {
    const bytes = bytesOf(line);
    if (line.startsWith('→')) socket.send(bytes);
    else expect((await socket.receive(bytes.length)).toString('hex'), line).toBe(bytes.toString('hex'));
  }
  expect((await socket.receive()).toString('hex'), 'nothing else, and the connection is closed').toBe('');
}

describe('examples/device/PROTOCOL.md', () => {
  it('has an example of each answer', () => expect(http).toHaveLength(2 * EXCHANGES.length));
  it.each(numbered.slice(0, 2))('$name', checkExchange);
  it.each(blocks('mqtt'))('MQTT: %s', checkPackets);
  it.each(numbered.slice(2))('$name', checkExchange);
});

describe('examples/python/device.py', () => {
  it('has at most 80 lines', () => {
    expect(readFileSync(PYTHON_DEVICE, 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(80);
  });
});

describeInstalled(
  'the device in Python',
  ['python3 with paho-mqtt'],
  ['python3-paho-mqtt'],
  () => {
    let tls: Broker;
    let agent: Program;
    const flash = path.join(clone.dir, 'flash.json');
    const start = (other: Record<string, string> = {}) => {
      const env = {
        BERTH_URL: local.url,
        BERTH_PROVISIONING_KEY: local.provisioningKey,
        DEVICE_FLASH: flash,
        POLL_SECONDS: '0.5',
        PYTHONDONTWRITEBYTECODE: '1',
        ...other,
      };
      agent = run(pythonWithPaho() as string, ['-W', 'error', 'examples/python/device.py'], { cwd: clone.dir, env });
    };
    const uuidOf = () => JSON.parse(readFileSync(flash, 'utf8')).uuid as string;
    const put = (body: object) => operator('PUT', `/devices/${uuidOf()}`, body);
    const [first, second] = [0, 1].map((i) => () => local.brokers[i] as Local['brokers'][0]) as [Of, Of];

    afterAll(async () => {
      await agent?.end('SIGTERM');
      await tls?.close();
    });

    it('registers, connects, and publishes on its own topic', async () => {
      start();
      await agent.says(new RegExp(`${first().url}: connected`));
      await agent.says(new RegExp(`iot/device/${uuidOf()}/status b'online'`));
    });

    it('follows a move, and leaves the former broker', async () => {
      await put({ mqtt_broker_id: second().id });
      await agent.says(new RegExp(`${second().url}: connected`));
      // A will would arrive here if it had not left with DISCONNECT.
      await put({ mqtt_broker_id: null });
      await agent.says(new RegExp(`${second().url}: connected[^]*${first().url}: connected`));
      expect(agent.output()).not.toContain('offline');
    });

    it('verifies a broker’s certificate with the CA that it received', async () => {
      const [authority, stranger] = await Promise.all([createAuthority('Berth tests'), createAuthority('A stranger')]);
      const server = await authority.issue({ commonName: 'broker', hosts: ['localhost'] });
      const row = { name: 'tls', protocol: 'mqtts', host: 'localhost', port: await freePort() };
      const { data } = await operator('POST', '/mqtt/brokers', { ...row, ca_cert: stranger.cert });
      tls = await startBroker({ port: row.port, id: data.id, databaseUrl: local.databaseUrl, tls: server });
      const before = agent.output().length;
      await put({ mqtt_broker_id: data.id });
      await sleep(3_000);
      expect(agent.output().slice(before)).not.toContain('connected');
      expect(tls.clients()).toEqual([]);
      await operator('PUT', `/mqtt/brokers/${data.id}`, { ca_cert: authority.cert });
      await agent.says(new RegExp(`mqtts://localhost:${row.port}: connected`));
      expect(tls.clients()).toEqual([`device_${uuidOf()}`]);
    });

    it('disconnects when it is deactivated, and comes back when it is activated', async () => {
      await put({ is_active: false });
      for (const end = Date.now() + 20_000; tls.clients().length > 0 && Date.now() < end; ) await sleep(50);
      expect(tls.clients()).toEqual([]);
      await put({ is_active: true, mqtt_broker_id: second().id });
      await agent.says(new RegExp(`${second().url}: connected[^]*${second().url}: connected`));
    });

    it('after a restart, it is the same device and connects although Berth does not answer', async () => {
      const uuid = uuidOf();
      await agent.end('SIGKILL');
      start({ BERTH_URL: 'http://127.0.0.1:1' });
      await agent.says(new RegExp(`${second().url}: connected`));
      expect(agent.output()).toMatch(/trying Berth again in 0 to 1 s \(.*refused/);
      expect(uuidOf()).toBe(uuid);
    });

    it('registers again when an operator has deleted it', async () => {
      const uuid = uuidOf();
      await agent.end('SIGKILL');
      start();
      await agent.says(new RegExp(`^${second().url}: connected`));
      await operator('DELETE', `/devices/${uuid}`);
      await agent.says(new RegExp(`connected[^]*${first().url}: connected`));
      expect(uuidOf()).toBe(uuid);
    });
  },
  pythonWithPaho,
);
