import { Agent, request } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import bcrypt from 'bcryptjs';
import postgres from 'postgres';
import {
  type Answer,
  asAdmin,
  type BenchDevice,
  type BenchKey,
  type Call,
  eventOf,
  lambdaContext,
  mqttCall,
  newDevice,
  registerCall,
} from './requests.ts';
import { type Recorded, varied } from './statement.ts';

/** `done` operations one after the other in `ms`; `cpuMs` of all threads of the process. */
export type Slice = { done: number; ms: number; cpuMs: number; latencies: number[] };
type Timed = { forMs: number };

/** What an instance can be asked to do. */
const ORDERS = {
  ready: async (name: string) => void (await load(name)),
  register: (order: Timed & { keys: BenchKey[] }) =>
    repeat(order, async (turn) => expect(200, await call(registerCall(keyOf(order.keys, turn), newDevice())))),
  bare: (order: Timed & { keys: BenchKey[]; recorded: Recorded }) =>
    repeat(order, (turn) => runBare(order.recorded, keyOf(order.keys, turn))),
  http: (order: Timed & { keys: BenchKey[]; url: string }) =>
    repeat(order, async (turn) => expect(200, await post(order.url, keyOf(order.keys, turn)))),
  mqtt: (order: Timed & { device: BenchDevice; etag?: string | undefined }) =>
    repeat(order, async () => expect(order.etag ? 304 : 200, await call(mqttCall(order.device, order.etag)))),
  legacy: (order: Timed) => repeat(order, legacyHashing),
  registerOnce: ({ key, device }: { key: BenchKey; device: BenchDevice }) => call(registerCall(key, device)),
  mqttOnce: ({ device }: { device: BenchDevice }) => call(mqttCall(device)),
  registerMany: async ({ key, count }: { key: BenchKey; count: number }) => {
    for (let i = 0; i < count; i++) expect(200, await call(registerCall(key, newDevice())));
  },
  registerEvenly,
  stopRegistering: () => {
    isRegistering = false;
  },
  issueKeys,
  workOnJobs,
  memory,
};
export type Orders = typeof ORDERS;

process.on('message', async ({ id, kind, order }: { id: number; kind: keyof Orders; order: [never] }) => {
  try {
    process.send?.({ id, result: await ORDERS[kind](...order) });
  } catch (error) {
    process.send?.({ id, error: String((error as Error).stack ?? error) });
  }
});
process.once('disconnect', () => process.exit());

type Handler = (event: object, context: object) => Promise<Answer>;
const loaded: Record<string, Promise<Record<string, Handler>>> = {};

/** The exports of a function of the checkout that is measured. */
function load(name: string): Promise<Record<string, Handler>> {
  const file = path.join(process.env.BENCH_ROOT as string, 'functions', `${name}.ts`);
  loaded[name] ??= import(pathToFileURL(file).href);
  return loaded[name];
}

/** Calls a handler as Lambda does. */
async function call(request: Call): Promise<Answer> {
  const { handler } = await load(request.name);
  return (handler as Handler)(eventOf(request), lambdaContext());
}

async function repeat({ forMs }: Timed, one: (turn: number) => Promise<unknown>): Promise<Slice> {
  const latencies: number[] = [];
  const cpu = process.cpuUsage();
  const begin = performance.now();
  let now = begin;
  for (let turn = 0; now - begin < forMs; turn++) {
    await one(turn);
    const then = now;
    now = performance.now();
    latencies.push(now - then);
  }
  const { user, system } = process.cpuUsage(cpu);
  return { done: latencies.length, ms: now - begin, cpuMs: (user + system) / 1000, latencies };
}

/** Each instance starts at another place of the list, so that they do not all use the same key simultaneously. */
function keyOf(keys: BenchKey[], turn: number): BenchKey {
  return keys[(process.pid + turn) % keys.length] as BenchKey;
}

function expect(status: number, { statusCode, body }: Answer): void {
  if (statusCode !== status) throw new Error(`${statusCode} instead of ${status}: ${body}`);
}

let bare: postgres.Sql | undefined;
/** Runs the recorded statement with other values, by the driver and the settings of lib/database/db.ts, and nothing else. */
async function runBare(recorded: Recorded, key: BenchKey): Promise<void> {
  bare ??= postgres(process.env.DATABASE_URL as string, { max: 1, fetch_types: false, prepare: true });
  const [row] = await bare.unsafe(recorded.text, varied(recorded, key) as never[], { prepare: true });
  if (!row?.created) throw new Error(`nothing was registered: ${JSON.stringify(row)}`);
}

const agent = new Agent({ keepAlive: true });
function post(url: string, key: BenchKey): Promise<Answer> {
  const { headers, body } = registerCall(key, newDevice());
  const answer = Promise.withResolvers<Answer>();
  const sent = request(`${url}/api/v1/device/register`, { method: 'POST', headers, agent }, (reply) => {
    let text = '';
    reply.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    reply.on('end', () => answer.resolve({ statusCode: reply.statusCode as number, headers: {}, body: text }));
  });
  sent.on('error', answer.reject).end(JSON.stringify(body));
  return answer.promise;
}

const SECRET = 'x'.repeat(64);
let stored: string | undefined;
/**
 * What hashing cost the legacy service per registration: it compared the provisioning key with its bcrypt hash, and
 * hashed the device key and the MQTT password. Its 15 statements are left out.
 */
async function legacyHashing(): Promise<void> {
  stored ??= await bcrypt.hash(SECRET, 10);
  await bcrypt.compare(SECRET, stored);
  await bcrypt.hash(SECRET, 10);
  await bcrypt.hash(SECRET, 10);
}

let isRegistering = false;
/** Registers devices at an even pace, whatever the latency, until `stopRegistering`. Returns every latency in ms. */
async function registerEvenly({ key, everyMs }: { key: BenchKey; everyMs: number }): Promise<number[]> {
  const latencies: Promise<number>[] = [];
  isRegistering = true;
  for (let due = performance.now(); isRegistering; due += everyMs) {
    await sleep(Math.max(0, due - performance.now()));
    // Measured from when it was due: waiting behind a slow one counts too.
    const one = call(registerCall(key, newDevice())).then((answer) => {
      expect(200, answer);
      return performance.now() - due;
    });
    latencies.push(one);
  }
  return Promise.all(latencies);
}

async function issueKeys({ count }: { count: number }): Promise<{ id: string; key: string }[]> {
  const keys = [];
  for (let i = 0; i < count; i++) {
    const body = { fleetId: `fleet-${i}`, maxDevices: 10_000, expiresInDays: 1 };
    const route = 'POST /api/v1/provisioning-keys';
    const answer = await call({ name: 'provisioning-keys', route, headers: asAdmin, body });
    expect(201, answer);
    keys.push(JSON.parse(answer.body));
  }
  return keys;
}

/** Works on bulk-assign jobs as the schedule does, until none is open. Returns the peak memory in MB. */
async function workOnJobs(): Promise<number> {
  const { work } = await load('bulk-assign');
  await (work as Handler)({ time: new Date().toISOString() }, lambdaContext(3_600_000));
  return process.resourceUsage().maxRSS / 1024;
}

function memory(): { rssMb: number; heapMb: number } {
  // Twice: the second run collects what finalizers of the first released.
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rssMb: rss / 1e6, heapMb: heapUsed / 1e6 };
}
