import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { closeDatabase } from '../lib/database/db.ts';
import { register } from '../lib/devices/register.ts';

/** Registers new devices at an even pace, whatever the latency, until told to stop; then answers every latency in ms. */
const { key, everyMs } = workerData as { key: string; everyMs: number };
const latencies: number[] = [];
let stopping = false;
parentPort?.once('message', () => {
  stopping = true;
});
const pending = new Set<Promise<void>>();
for (let due = performance.now(); !stopping; due += everyMs) {
  await sleep(Math.max(0, due - performance.now()));
  const one = registerOne(due).finally(() => pending.delete(one));
  pending.add(one);
}
await Promise.all(pending);
await closeDatabase();
parentPort?.postMessage(latencies);

/** Counted from when it was due, so that waiting behind a slow one counts too. */
async function registerOne(due: number): Promise<void> {
  const requestId = randomUUID();
  const input = {
    uuid: requestId,
    deviceName: 'Bench',
    deviceType: 'bench',
    deviceApiKey: randomBytes(32).toString('hex'),
    macAddress: undefined,
    osVersion: undefined,
    supervisorVersion: undefined,
  };
  await register({ requestId, sourceIp: '192.0.2.1', actor: 'device', deadline: Date.now() + 10_000 }, input, key);
  latencies.push(performance.now() - due);
}
