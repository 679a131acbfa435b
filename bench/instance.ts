import { Agent, request } from 'node:http';
import postgres from 'postgres';
import { closeDatabase } from '../lib/database/db.ts';
import { legacyHashing } from './legacy.ts';
import {
  type Answer,
  type BenchDevice,
  type BenchKey,
  callHandler,
  mqttCall,
  newDevice,
  registerCall,
} from './requests.ts';
import { type Recorded, varied } from './statement.ts';

/** What an instance can be asked to do. The first five go on for `forMs` and answer a {@link Slice}. */
export type Order =
  | { kind: 'register'; forMs: number; keys: BenchKey[] }
  | { kind: 'bare'; forMs: number; keys: BenchKey[]; recorded: Recorded }
  | { kind: 'http'; forMs: number; keys: BenchKey[]; url: string }
  | { kind: 'mqtt'; forMs: number; device: BenchDevice; etag?: string }
  | { kind: 'legacy'; forMs: number }
  | { kind: 'registerOnce'; key: BenchKey; device: BenchDevice }
  | { kind: 'mqttOnce'; device: BenchDevice }
  | { kind: 'registerMany'; key: BenchKey; count: number }
  | { kind: 'memory' }
  | { kind: 'ready' };

/** What was done one after the other, in `ms` of time and `cpuMs` of all of the process' threads. */
export type Slice = { done: number; ms: number; cpuMs: number; latencies: number[] };
export type Memory = { rssMb: number; heapMb: number };

process.on('message', async (order: Order) => {
  try {
    process.send?.({ result: await carryOut(order) });
  } catch (error) {
    process.send?.({ error: String((error as Error).stack ?? error) });
  }
});
process.once('disconnect', async () => {
  agent.destroy();
  await Promise.all([closeDatabase(), bare?.end({ timeout: 1 })]);
});

const agent = new Agent({ keepAlive: true });
let bare: postgres.Sql | undefined;

function carryOut(order: Order): unknown {
  switch (order.kind) {
    case 'register':
      return repeat(order.forMs, (turn) => expect(200, callHandler(registerCall(keyOf(order, turn), newDevice()))));
    case 'bare':
      return repeat(order.forMs, (turn) => runBare(order.recorded, keyOf(order, turn)));
    case 'http':
      return repeat(order.forMs, (turn) => expect(200, post(order.url, keyOf(order, turn))));
    case 'mqtt':
      return repeat(order.forMs, () => expect(order.etag ? 304 : 200, callHandler(mqttCall(order.device, order.etag))));
    case 'legacy':
      return repeat(order.forMs, legacyHashing);
    case 'registerOnce':
      return callHandler(registerCall(order.key, order.device));
    case 'mqttOnce':
      return callHandler(mqttCall(order.device));
    case 'registerMany':
      return registerMany(order.key, order.count);
    case 'memory':
      return memory();
    case 'ready':
      return undefined;
  }
}

async function repeat(forMs: number, one: (turn: number) => Promise<unknown>): Promise<Slice> {
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

/** Each instance begins elsewhere in the list, so that they don't all use the same key at once. */
const offset = process.pid;
function keyOf({ keys }: { keys: BenchKey[] }, turn: number): BenchKey {
  return keys[(offset + turn) % keys.length] as BenchKey;
}

async function expect(status: number, answer: Promise<Answer>): Promise<void> {
  const { statusCode, body } = await answer;
  if (statusCode !== status) throw new Error(`${statusCode} instead of ${status}: ${body}`);
}

/** The recorded statement with other values, by the driver and the settings of lib/database/db.ts, and nothing around it. */
async function runBare(recorded: Recorded, key: BenchKey): Promise<void> {
  bare ??= postgres(process.env.DATABASE_URL as string, { max: 1, fetch_types: false, prepare: true });
  const [row] = await bare.unsafe(recorded.text, varied(recorded, key) as never[], { prepare: true });
  if (!row?.created) throw new Error(`nothing was registered: ${JSON.stringify(row)}`);
}

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
  sent.on('error', answer.reject).end(body);
  return answer.promise;
}

async function registerMany(key: BenchKey, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await expect(200, callHandler(registerCall(key, newDevice())));
}

function memory(): Memory {
  // Twice: what the first run's finalizers let go of, the second collects.
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rssMb: rss / 1e6, heapMb: heapUsed / 1e6 };
}
