import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Instance } from './instances.ts';
import type { Part } from './part.ts';
import type { BenchKey } from './requests.ts';
import { type Checkout, ROOT, startServer } from './server.ts';
import { at, median, round2 } from './table.ts';

const REGISTER_EVERY_MS = 20;
const QUIET_MS = 20_000;
const ROUNDS = 3;

type Step = { devices: number };
type Timed<T> = T & { seconds: number; devicesPerSecond: number; walMb: number; tableMb: number; eventsMb: number };
type Pair = { plain: Timed<Step>; alone: Timed<Step>; ratio: number };
/** A checkout whose devices all belong to broker `one`. Jobs move them there, plain UPDATEs to broker `two`. */
type Side = { name: string; checkout: Checkout; one: number; two: number; pairs: Pair[] };
export type BulkFigures = Awaited<ReturnType<typeof measureRest>>;

/**
 * A bulk-assign job compared with one plain UPDATE of the same rows, in pairs, since machines are noisy; with one UPDATE
 * that also records history; and its effect on 50 registrations a second. Every step starts from a freshly vacuumed table
 * without history.
 */
export const run: Part = async ({ devices = '1000000', against }) => {
  const server = await startServer();
  try {
    const sides: Side[] = [];
    for (const root of against ? [ROOT, path.resolve(against)] : [ROOT]) {
      sides.push(await seed(await server.checkout(root), sides.length > 0 ? `${against}: ` : '', Number(devices)));
    }
    for (let round = 1; round <= ROUNDS; round++) {
      for (const side of sides) {
        const plain = await timed(side, `${round}/${ROUNDS} one plain UPDATE`, () => plainUpdate(side, UPDATE));
        const alone = await timed(side, `${round}/${ROUNDS} job, alone`, () => job(side));
        side.pairs.push({ plain, alone, ratio: round2(alone.seconds / plain.seconds) });
      }
    }
    const [here, there] = sides as [Side, Side?];
    const figures = await measureRest(here);
    if (!there) return { devices: Number(devices), ...figures };
    const theirs = await measureRest(there);
    const ratio = (step: 'plain' | 'alone') =>
      round2(median(here.pairs.map((pair, i) => pair[step].seconds / (there.pairs[i] as Pair)[step].seconds)));
    say(`here to ${against} (medians)`, { job: ratio('alone'), plainUpdate: ratio('plain') });
    return { devices: Number(devices), ...figures, against: theirs, jobToAgainst: ratio('alone') };
  } finally {
    await server.stop();
  }
};

/** What is measured once, and a summary of all. */
async function measureRest(side: Side) {
  const { name, checkout, pairs } = side;
  const history = await timed(side, 'one UPDATE with history', () => plainUpdate(side, UPDATE_WITH_HISTORY));
  const quiet = await registering(checkout, () => sleep(QUIET_MS));
  say(`${name}registrations, no job`, quiet.latency);
  const beside = await registering(checkout, () => timed(side, 'job, beside registrations', () => job(side)));
  say(`${name}registrations, beside the job`, beside.latency);
  const plainSeconds = median(pairs.map(({ plain }) => plain.seconds));
  const ratios = {
    aloneToPlain: median(pairs.map(({ ratio }) => ratio)),
    historyToPlain: round2(history.seconds / plainSeconds),
    besideToPlain: round2(beside.result.seconds / plainSeconds),
  };
  say(`${name}to one plain UPDATE (medians)`, ratios);
  return { pairs, history, beside: beside.result, ...ratios, quiet: quiet.latency, during: beside.latency };
}

async function seed(checkout: Checkout, name: string, count: number): Promise<Side> {
  const { rows } = await checkout.sql(
    `with two as (
       insert into mqtt_broker_config (name, host, port, is_default) values ('two', 'two', 1883, false) returning id
     )
     select one.id as one, two.id as two from mqtt_broker_config one, two where one.name = 'one'`,
  );
  const { one, two } = rows[0] as { one: number; two: number };
  await checkout.sql(
    `insert into devices (uuid, device_name, device_type, fleet_id, mqtt_broker_id, device_api_key_hash, mqtt_username, mqtt_password_salt)
     select gen_random_uuid()::text, 'Device ' || n, 'sensor', 'fleet-' || n % 10, $2, '1$' || repeat('x', 43),
            'device_' || gen_random_uuid(), '1$' || repeat('s', 22)
     from generate_series(1, $1::integer) n`,
    [count, one],
  );
  return { name, checkout, one, two, pairs: [] };
}

const UPDATE = `
  update devices set mqtt_broker_id = $1, mqtt_broker_assigned_at = now(), modified_at = now() at time zone 'utc'
  where mqtt_broker_id is distinct from $1`;
const UPDATE_WITH_HISTORY = `
  with moved as (${UPDATE} returning id, uuid, fleet_id)
  insert into device_events (type, device_uuid, device_id, fleet_id, actor, reason, from_broker_id, to_broker_id, job_id)
  select 'moved', uuid, id, fleet_id, 'bench', 'bench', 0, $1, 0 from moved`;

async function plainUpdate({ checkout, two }: Side, statement: string): Promise<Step> {
  const { rowCount } = await checkout.sql(statement, [two]);
  return { devices: rowCount ?? 0 };
}

/** Creates a job, and starts a worker process that completes it. */
async function job({ checkout, one }: Side) {
  // A session that ends: an idle one would count as competing load.
  const operator = new pg.Client({ connectionString: checkout.url });
  await operator.connect();
  const { rows: created } = await operator.query(
    `insert into bulk_assign_jobs (once, request_id, created_by, filter, target_broker_id, start_id, cursor_id, end_id)
     select gen_random_uuid()::text, 'bench', 'bench', '{}', $1, 0, 0, max(id) from devices returning id`,
    [one],
  );
  await operator.end();
  const [worker] = (await checkout.instances(1, 'bulk-assign')) as [Instance];
  const peakMb = await worker.ask('workOnJobs');
  await worker.stop();
  const { rows } = await checkout.sql(
    'select moved as devices, state, skipped, batches, batch_size from bulk_assign_jobs where id = $1',
    [created[0].id],
  );
  const { devices, ...more } = rows[0];
  return { devices: devices as number, peakMb: Math.round(peakMb), ...more };
}

/** Vacuums, checkpoints, runs `step`, prints and returns its time and the space that it used. */
async function timed<T extends Step>({ name, checkout: { sql } }: Side, what: string, step: () => Promise<T>) {
  const space = async () => {
    const { rows } = await sql(
      `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 / 1e6 as wal,
              pg_total_relation_size('devices') / 1e6 as devices, pg_total_relation_size('device_events') / 1e6 as events`,
    );
    return rows[0];
  };
  for (const clean of ['truncate device_events', 'vacuum analyze devices', 'checkpoint']) await sql(clean);
  const before = await space();
  // A worker considers sessions that were active in the last 2 seconds as competing load.
  await sleep(2_500);
  const begin = performance.now();
  const result = await step();
  const seconds = (performance.now() - begin) / 1000;
  const after = await space();
  const figures: Timed<T> = {
    ...result,
    seconds: round2(seconds),
    devicesPerSecond: Math.round(result.devices / seconds),
    walMb: Math.round(after.wal - before.wal),
    tableMb: Math.round(after.devices),
    eventsMb: Math.round(after.events),
  };
  say(name + what, figures);
  return figures;
}

/** The result of `step`, and the latency of registrations at an even pace meanwhile. */
async function registering<T>(checkout: Checkout, step: () => Promise<T>) {
  const [key] = (await checkout.issueKeys(1)) as [BenchKey];
  const [instance] = (await checkout.instances(1)) as [Instance];
  const registered = instance.ask('registerEvenly', { key, everyMs: REGISTER_EVERY_MS });
  await sleep(2_000);
  const result = await step();
  await instance.ask('stopRegistering');
  // Without the first second, in which modules are loaded and the connection is made.
  const latencies = (await registered).slice(1_000 / REGISTER_EVERY_MS);
  await instance.stop();
  const [p50Ms, p99Ms, maxMs] = [0.5, 0.99, 1].map((share) => round2(at(latencies, share))) as [number, number, number];
  return { result, latency: { registrations: latencies.length, p50Ms, p99Ms, maxMs } };
}

function say(name: string, figures: object): void {
  const list = Object.entries(figures).map(([figure, value]) => `${figure} ${value}`);
  console.log(`${name}: ${list.join(', ')}`);
}
