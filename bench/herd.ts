import { setTimeout as sleep } from 'node:timers/promises';
import { retryDelay } from '../examples/device/backoff.ts';
import { addBrokerAndKeys, type BenchDatabase, benchDatabase, deployedEnv } from './database.ts';
import { type Gateway, startGateway } from './herd-gateway.ts';
import type { Slice } from './instance.ts';
import { startInstances } from './instances.ts';
import { progress } from './progress.ts';
import { type BenchKey, newDevice } from './requests.ts';
import type { Part } from './run.ts';
import { at, short, table } from './table.ts';

const INSTANCES = 32;
const OUTAGE_MS = 60_000;
/** Devices don't notice in the same instant. */
const NOTICED_WITHIN_MS = 1_000;
/** examples/device/call.ts gives up on a reply then. */
const PATIENCE_MS = 10_000;
const CAPACITY_MS = 5_000;

/** What became of a device: when it was registered, and what it heard until then, `silence` for no answer. */
type Life = { doneAt: number; heard: { at: number; status: number | 'silence' }[] };

/**
 * A fleet that all wants to register at once: when the database has just been stopped for a minute, and when it is
 * back up (after a power cut, say). Devices are simulated and wait as examples/device does; what they ask is answered
 * by the real handlers on a real server that is really down.
 */
export const run: Part = async ({ quick }) => {
  const devices = quick ? 300 : 10_000;
  const outageMs = quick ? 5_000 : OUTAGE_MS;
  const tell = progress('herd', (CAPACITY_MS + outageMs) / 1000 + 140);
  const database = await benchDatabase();
  const [key] = (await addBrokerAndKeys(database, 1)) as [BenchKey];
  const instances = await startInstances(INSTANCES, deployedEnv(database.url));
  try {
    tell(`capacity: ${INSTANCES} instances`, CAPACITY_MS / 1000);
    const perSecond = await capacity(instances, [key]);
    const gateway = startGateway(instances, key);

    tell(`${devices} devices ask while the database is down for ${outageMs / 1000} s`, outageMs / 1000 + 70);
    const [outage, outageDevices] = await counted(database, () => duringOutage(database, gateway, devices, outageMs));
    tell(`${devices} devices ask at once`, 70);
    const [burst, burstDevices] = await counted(database, () => atOnce(gateway, devices));
    const figures = {
      devices,
      instances: INSTANCES,
      capacityPerSecond: Math.round(perSecond),
      shortestDrainS: short(devices / perSecond),
      outage: { ...outage, registered: outageDevices },
      burst: { ...burst, registered: burstDevices },
    };
    print(figures);
    return figures;
  } finally {
    await Promise.allSettled(instances.map((one) => one.stop()));
    await database.stop();
  }
};

async function capacity(instances: Awaited<ReturnType<typeof startInstances>>, keys: BenchKey[]): Promise<number> {
  const order = { kind: 'register', forMs: CAPACITY_MS, keys } as const;
  const slices = await Promise.all(instances.map((one) => one.ask<Slice>(order)));
  return slices.reduce((sum, { done, ms }) => sum + (done / ms) * 1000, 0);
}

async function duringOutage(database: BenchDatabase, gateway: Gateway, devices: number, outageMs: number) {
  await database.shutDown();
  const down = performance.now();
  const lives = Array.from({ length: devices }, () => live(gateway));
  await sleep(outageMs - 1_000); // starting takes a second
  await database.start();
  const up = performance.now();
  return { downS: short((up - down) / 1000), ...summary(await Promise.all(lives), up) };
}

async function atOnce(gateway: Gateway, devices: number) {
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

/** @param up when the service was there (again) */
function summary(lives: Life[], up: number) {
  const attempts = lives.map(({ heard }) => heard.length);
  const after = lives.map(({ heard }) => heard.filter((one) => one.at > up).length);
  const answers: Record<string, number> = {};
  for (const { status } of lives.flatMap(({ heard }) => heard)) answers[status] = (answers[status] ?? 0) + 1;
  return {
    attempts: distribution(attempts),
    attemptsAfter: distribution(after),
    answers,
    drainS: short((Math.max(...lives.map(({ doneAt }) => doneAt)) - up) / 1000),
    drainHalfS: short(
      (at(
        lives.map(({ doneAt }) => doneAt),
        0.5,
      ) -
        up) /
        1000,
    ),
  };
}

function distribution(figures: number[]) {
  const mean = short(figures.reduce((sum, figure) => sum + figure, 0) / figures.length);
  return { mean, p99: at(figures, 0.99), max: at(figures, 1) };
}

/** What `step` answers, and how many devices it registered: rows, and places used on the keys. */
async function counted<T>(
  { count }: BenchDatabase,
  step: () => Promise<T>,
): Promise<[T, { rows: number; used: number }]> {
  const before = await count();
  const result = await step();
  const after = await count();
  return [result, { rows: after.rows - before.rows, used: after.used - before.used }];
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
  console.log(`\n${table(head, [row('asking from its start', outage), row('asking when it is up', burst)])}\n`);
  console.log(`${devices} devices at ${capacityPerSecond} registrations a second take ${shortestDrainS} s at least`);
  console.log(`answers: ${JSON.stringify(outage.answers)}, then ${JSON.stringify(burst.answers)}`);
}
