import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import pg from 'pg';
import { addKeys, type BenchDatabase, benchDatabase, handlerEnv } from './database.ts';
import type { BenchKey } from './requests.ts';
import type { Part } from './run.ts';

const REGISTER_EVERY_MS = 20;
const QUIET_MS = 20_000;
const ROUNDS = 3;

type Latency = { registrations: number; p50Ms: number; p99Ms: number; maxMs: number };

/**
 * A bulk-assign job against one plain UPDATE of the same rows, in pairs, since machines are noisy, and against one
 * with history; and what it does to registrations, which go on at 50 a second. Every step starts from a freshly
 * vacuumed table and no history.
 */
export const run: Part = async ({ devices = '1000000' }) => {
  const database = await benchDatabase();
  try {
    const count = Number(devices);
    const brokers = await seed(database, count);
    const pairs = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const plain = await timed(database, `${round}/${ROUNDS} one plain UPDATE`, () =>
        plainUpdate(database, brokers[1], false),
      );
      const alone = await timed(database, `${round}/${ROUNDS} job, alone`, () => job(database, brokers[0]));
      pairs.push({ plain, alone, ratio: round2(alone.seconds / plain.seconds) });
    }
    const history = await timed(database, 'one UPDATE with history', () => plainUpdate(database, brokers[1], true));
    const quiet = await registering(database, () => sleep(QUIET_MS));
    say('registrations, no job', quiet.latency);
    const beside = await registering(database, () =>
      timed(database, 'job, beside registrations', () => job(database, brokers[0])),
    );
    say('registrations, beside the job', beside.latency);
    const plainSeconds = median(pairs.map(({ plain }) => plain.seconds));
    const figures = {
      devices: count,
      pairs,
      history,
      beside: beside.result,
      aloneToPlain: median(pairs.map(({ ratio }) => ratio)),
      historyToPlain: round2(history.seconds / plainSeconds),
      besideToPlain: round2(beside.result.seconds / plainSeconds),
      quiet: quiet.latency,
      during: beside.latency,
    };
    const { aloneToPlain, historyToPlain, besideToPlain } = figures;
    say('to one plain UPDATE (medians)', {
      job: aloneToPlain,
      updateWithHistory: historyToPlain,
      jobBesideRegistrations: besideToPlain,
    });
    return figures;
  } finally {
    await database.stop();
  }
};

async function seed({ client }: BenchDatabase, count: number): Promise<[number, number]> {
  const { rows } = await client.query(
    `insert into mqtt_broker_config (name, host, port, is_default)
     values ('one', 'one', 1883, true), ('two', 'two', 1883, false) returning id`,
  );
  await client.query(
    `insert into devices (uuid, device_name, device_type, fleet_id, mqtt_broker_id, device_api_key_hash, mqtt_username, mqtt_password_salt)
     select gen_random_uuid()::text, 'Device ' || n, 'sensor', 'fleet-' || n % 10, $2, '1$' || repeat('x', 43),
            'device_' || gen_random_uuid(), '1$' || repeat('s', 22)
     from generate_series(1, $1::integer) n`,
    [count, rows[0].id],
  );
  return [rows[0].id, rows[1].id];
}

const UPDATE = `
  update devices set mqtt_broker_id = $1, mqtt_broker_assigned_at = now(), modified_at = now() at time zone 'utc'
  where mqtt_broker_id is distinct from $1`;
const UPDATE_WITH_HISTORY = `
  with moved as (${UPDATE} returning id, uuid, fleet_id)
  insert into device_events (type, device_uuid, device_id, fleet_id, actor, reason, from_broker_id, to_broker_id, job_id)
  select 'moved', uuid, id, fleet_id, 'bench', 'bench', 0, $1, 0 from moved`;

async function plainUpdate({ client }: BenchDatabase, target: number, withHistory: boolean) {
  const { rowCount } = await client.query(withHistory ? UPDATE_WITH_HISTORY : UPDATE, [target]);
  return { devices: rowCount ?? 0 };
}

/** Orders a job and has a worker process do it. */
async function job({ client, url }: BenchDatabase, target: number) {
  const operator = new pg.Client({ connectionString: url });
  await operator.connect();
  const { rows } = await operator.query(
    `insert into bulk_assign_jobs (once, request_id, created_by, filter, target_broker_id, start_id, cursor_id, end_id)
     select gen_random_uuid()::text, 'bench', 'bench', '{}', $1, 0, 0, max(id) from devices returning id`,
    [target],
  );
  await operator.end();
  const worker = spawn(process.execPath, [fileURLToPath(new URL('bulk-worker.ts', import.meta.url)), rows[0].id], {
    env: { ...process.env, ...handlerEnv(url) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = await Promise.all([text(worker.stdout), once(worker, 'exit')]);
  const { state, peakMb } = JSON.parse(output);
  const done = await client.query('select moved, skipped, batches, batch_size from bulk_assign_jobs where id = $1', [
    rows[0].id,
  ]);
  const { moved, ...more } = done.rows[0];
  return { devices: moved as number, state, peakMb: Math.round(peakMb), ...more };
}

type Timed<T> = T & { seconds: number; devicesPerSecond: number; walMb: number; tableMb: number; eventsMb: number };

/** Vacuums, checkpoints, runs, and says what it took. */
async function timed<T extends { devices: number }>(
  database: BenchDatabase,
  name: string,
  step: () => Promise<T>,
): Promise<Timed<T>> {
  await database.client.query('truncate device_events');
  await database.client.query('vacuum analyze devices');
  await database.client.query('checkpoint');
  const wal = await database.walMb();
  // A worker takes whoever did something in the last 2 seconds for company.
  await sleep(2_500);
  const begin = performance.now();
  const result = await step();
  const seconds = (performance.now() - begin) / 1000;
  const { rows } = await database.client.query(
    `select pg_total_relation_size('devices') / 1e6 as devices, pg_total_relation_size('device_events') / 1e6 as events`,
  );
  const figures = {
    ...result,
    seconds: round2(seconds),
    devicesPerSecond: Math.round(result.devices / seconds),
    walMb: Math.round((await database.walMb()) - wal),
    tableMb: Math.round(rows[0].devices),
    eventsMb: Math.round(rows[0].events),
  };
  say(name, figures);
  return figures;
}

/** Registrations at an even pace while `step` runs. */
async function registering<T>(
  database: BenchDatabase,
  step: () => Promise<T>,
): Promise<{ result: T; latency: Latency }> {
  const [{ key }] = (await addKeys(database, 1)) as [BenchKey];
  const foreground = new Worker(new URL('bulk-foreground.ts', import.meta.url), {
    workerData: { key, everyMs: REGISTER_EVERY_MS },
    env: { ...process.env, ...handlerEnv(database.url) },
  });
  await sleep(2_000);
  const result = await step();
  foreground.postMessage('stop');
  const [latencies] = (await once(foreground, 'message')) as [number[]];
  // Without the first second, in which modules and connection are made.
  const sorted = latencies.slice(1_000 / REGISTER_EVERY_MS).sort((a, b) => a - b);
  const at = (share: number) => round2(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return { result, latency: { registrations: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) } };
}

function say(name: string, figures: object): void {
  const list = Object.entries(figures).map(([figure, value]) => `${figure} ${value}`);
  console.log(`${name}: ${list.join(', ')}`);
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
