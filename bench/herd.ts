import { setTimeout as sleep } from 'node:timers/promises';
import { retryDelay } from '../examples/device/backoff.ts';
import { type Gateway, startGateway } from './herd-gateway.ts';
import type { Instance } from './instances.ts';
import { type Part, progress } from './part.ts';
import { type BenchKey, newDevice } from './requests.ts';
import { type Checkout, type Server, startServer } from './server.ts';
import { at, short, table } from './table.ts';

const INSTANCES = 32;
const OUTAGE_MS = 60_000;
/** Devices do not notice in the same instant. */
const NOTICED_WITHIN_MS = 1_000;
/** After this time examples/device/call.ts gives up waiting for a reply. */
const PATIENCE_MS = 10_000;
const CAPACITY_MS = 5_000;

/** One device: when it was registered, and every reply until then, `silence` for none. */
type Life = { doneAt: number; heard: { at: number; status: number | 'silence' }[] };

/**
 * A fleet whose devices all register simultaneously: while the database is down for a minute, and when it is up (after a
 * power cut, for example). The devices are simulated and wait as examples/device does. Real handlers answer them, on a
 * real server that is really stopped.
 */
export const run: Part = async ({ quick }) => {
  const devices = quick ? 300 : 10_000;
  const outageMs = quick ? 5_000 : OUTAGE_MS;
  const tell = progress('herd', (CAPACITY_MS + outageMs) / 1000 + 140);
  const server = await startServer();
  try {
    const checkout = await server.checkout();
    const keys = await checkout.issueKeys(1);
    const instances = await checkout.instances(INSTANCES);
    tell(`capacity: ${INSTANCES} instances`, CAPACITY_MS / 1000);
    const perSecond = await capacity(instances, keys);
    const gateway = startGateway(instances, keys[0] as BenchKey);
    tell(`${devices} devices register while the database is down for ${outageMs / 1000} s`, outageMs / 1000 + 70);
    const outage = await counted(checkout, () => duringOutage(server, gateway, devices, outageMs));
    tell(`${devices} devices register simultaneously`, 70);
    const burst = await counted(checkout, () => whileUp(gateway, devices));
    const figures = {
      devices,
      instances: INSTANCES,
      capacityPerSecond: Math.round(perSecond),
      shortestDrainS: short(devices / perSecond),
      outage,
      burst,
    };
    print(figures);
    return figures;
  } finally {
    await server.stop();
  }
};

async function capacity(instances: Instance[], keys: BenchKey[]): Promise<number> {
  const slices = await Promise.all(instances.map((one) => one.ask('register', { forMs: CAPACITY_MS, keys })));
  return slices.reduce((sum, { done, ms }) => sum + (done / ms) * 1000, 0);
}

async function duringOutage(server: Server, gateway: Gateway, devices: number, outageMs: number) {
  await server.pause();
  const down = performance.now();
  const lives = Array.from({ length: devices }, () => live(gateway));
  await sleep(outageMs - 1_000); // the server takes a second to start
  await server.resume();
  const up = performance.now();
  return { downS: short((up - down) / 1000), ...summary(await Promise.all(lives), up) };
}

async function whileUp(gateway: Gateway, devices: number) {
  const begin = performance.now();
  return summary(await Promise.all(Array.from({ length: devices }, () => live(gateway))), begin);
}

/** A device from its first try until it is registered. */
async function live(gateway: Gateway): Promise<Life> {
  const device = newDevice();
  const heard: Life['heard'] = [];
  await sleep(Math.random() * NOTICED_WITHIN_MS);
  for (let attempt = 0; ; attempt++) {
    const patience = new AbortController();
    const answer = await Promise.race([gateway(device), sleep(PATIENCE_MS, undefined, { signal: patience.signal })]);
    patience.abort();
    const now = performance.now();
    heard.push({ at: now, status: answer?.statusCode ?? 'silence' });
    if (answer?.statusCode === 200) return { doneAt: now, heard };
    const failure = answer && { status: answer.statusCode, retryAfter: answer.headers['retry-after'] ?? null };
    await sleep(retryDelay(attempt, failure));
  }
}

/** @param up when the service was up (again) */
function summary(lives: Life[], up: number) {
  const attempts = lives.map(({ heard }) => heard.length);
  const after = lives.map(({ heard }) => heard.filter((one) => one.at > up).length);
  const done = lives.map(({ doneAt }) => doneAt);
  const answers: Record<string, number> = {};
  for (const { status } of lives.flatMap(({ heard }) => heard)) answers[status] = (answers[status] ?? 0) + 1;
  return {
    attempts: distribution(attempts),
    attemptsAfter: distribution(after),
    answers,
    drainS: short((at(done, 1) - up) / 1000),
    drainHalfS: short((at(done, 0.5) - up) / 1000),
  };
}

function distribution(figures: number[]) {
  const mean = short(figures.reduce((sum, figure) => sum + figure, 0) / figures.length);
  return { mean, p99: at(figures, 0.99), max: at(figures, 1) };
}

/** The result of `step` with the number of devices that it registered: rows, and places used on the keys. */
async function counted<T extends object>({ sql }: Checkout, step: () => Promise<T>) {
  const count = async () => {
    const { rows } = await sql(
      `select (select count(*)::int from devices) as rows,
              (select sum(devices_provisioned)::int from provisioning_keys) as used`,
    );
    return rows[0] as { rows: number; used: number };
  };
  const before = await count();
  const result = await step();
  const after = await count();
  return { ...result, registered: { rows: after.rows - before.rows, used: after.used - before.used } };
}

type Summary = ReturnType<typeof summary>;
type Counted = { registered: { rows: number; used: number } };
export type HerdFigures = {
  devices: number;
  capacityPerSecond: number;
  shortestDrainS: number;
  outage: Summary & Counted;
  burst: Summary & Counted;
};

function print({ devices, capacityPerSecond, shortestDrainS, outage, burst }: HerdFigures): void {
  const row = (name: string, { attempts, attemptsAfter, drainHalfS, drainS }: Summary) => [
    name,
    ...[attempts.mean, attempts.p99, attempts.max, attemptsAfter.mean, attemptsAfter.max, drainHalfS, drainS],
  ];
  const head = ['', 'attempts', 'p99', 'max', 'once up', 'max', 'half after s', 'all after s'];
  console.log(`\n${table(head, [row('while the database is down', outage), row('while it is up', burst)])}\n`);
  console.log(`${devices} devices at ${capacityPerSecond} registrations a second take ${shortestDrainS} s at least`);
  console.log(`answers: ${JSON.stringify(outage.answers)}, then ${JSON.stringify(burst.answers)}`);
}
