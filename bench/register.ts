import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { startOffline } from '../local/offline.ts';
import { freePort } from '../local/ports.ts';
import { cloneProject } from '../tests/support/stack.ts';
import type { Slice } from './instance.ts';
import type { Instance } from './instances.ts';
import { type Part, type Progress, progress } from './part.ts';
import { type RoundTrips, recordStatement, statementTime } from './register-statement.ts';
import { type BenchKey, newDevice } from './requests.ts';
import { type Checkout, deployedEnv, type Server, startServer } from './server.ts';
import { serverCpuMs } from './server-cpu.ts';
import type { Recorded } from './statement.ts';
import { at, median, percent, short, table } from './table.ts';

const CLIENTS = [1, 8, 32];
const MOST_CLIENTS = Math.max(...CLIENTS);
/** Many short turns: what else the machine does then affects all ways alike. */
const ROUNDS = 12;
/** How much longer a turn is where nothing is compared. */
const LONGER = 4;
const DEVICES_BEFORE = 5_000;

/** `against`: the handler of the checkout that this one is compared with. */
type Way = 'bare' | 'handler' | 'against' | 'http';
const KINDS = ['hot', 'many'] as const;
type Kind = (typeof KINDS)[number];
/** A checkout with an instance for each client, one hot key and many keys. */
type Side = { checkout: Checkout; instances: Instance[]; keys: Record<Kind, BenchKey[]> };
type Bench = {
  server: Server;
  ours: Side;
  theirs: Side | undefined;
  ways: Way[];
  recorded: Recorded;
  roundTrips: Record<'prepared' | 'unprepared', RoundTrips>;
  httpUrl: string;
  sliceMs: number;
  tell: Progress;
};
/** One slice of all clients together. `serverCpuMs` is per registration. */
type Measured = { perSecond: number; cpuMs: number; serverCpuMs: number | undefined; latencies: number[] };
/** One way with so many clients and one or 100 keys: medians. Ratios compare turns of the same round. */
type Cell = {
  clients: number;
  keys: Kind;
  way: Way;
  perSecond: number;
  toBare: number;
  hotToMany: number | undefined;
  toAgainst: number | undefined;
  p50Ms: number;
  p99Ms: number;
  cpuMs: number;
  serverCpuMs: number;
};
export type RegisterFigures = {
  cells: Cell[];
  roundTrips: Bench['roundTrips'];
  legacy: { perSecond: number; cpuMs: number; timesFaster: number };
} & Awaited<ReturnType<typeof measureDetails>>;

/**
 * Registrations by the handler, called directly and through HTTP, compared with a bare loop of the same statement. Each
 * client has an instance and a connection of its own. The ways take turns of less than a second, so that what else the
 * machine does affects them alike.
 */
export const run: Part = async ({ quick, against }) => {
  const sliceMs = quick ? 80 : 600;
  const warm = quick ? 50 : 3_000;
  const ways: Way[] = against ? ['bare', 'handler', 'against', 'http'] : ['bare', 'handler', 'http'];
  const warmUpSeconds = ((ways.length - 1) * warm * MOST_CLIENTS) / 1_400;
  const seconds = (sliceMs / 1000) * (ROUNDS * CLIENTS.length * 2 * ways.length + 6 * LONGER) + warmUpSeconds + 15;
  const tell = progress('register', seconds);
  tell('starting PostgreSQL, instances and serverless-offline', 15);
  const server = await startServer({
    shared_preload_libraries: 'pg_stat_statements',
    'pg_stat_statements.track_planning': 'on',
  });
  let http: { url: string; stop(): Promise<void> } | undefined;
  try {
    const ours = await prepare(await server.checkout());
    const theirs = against ? await prepare(await server.checkout(path.resolve(against))) : undefined;
    const [hot] = ours.keys.hot as [BenchKey];
    const { recorded, roundTrips: prepared } = await recordStatement(ours.checkout, hot);
    const { roundTrips: unprepared } = await recordStatement(ours.checkout, hot, { DATABASE_PREPARE: 'false' });
    const roundTrips = { prepared, unprepared };
    http = await startHttpService(ours.checkout.url);
    const bench = { server, ours, theirs, ways, recorded, roundTrips, httpUrl: http.url, sliceMs, tell };
    const unhurried = { ...bench, sliceMs: sliceMs * LONGER };
    await warmUp(unhurried, warm);
    const cells = [];
    for (const clients of CLIENTS) cells.push(...(await compare(bench, clients)));
    const details = await measureDetails(unhurried);
    const legacy = await measureLegacy(unhurried);
    const contended = cells.filter(({ clients, way }) => clients === 8 && way === 'handler');
    const best = Math.max(...contended.map(({ perSecond }) => perSecond));
    const timesFaster = short(best / legacy.perSecond);
    const figures = { cells, roundTrips, ...details, legacy: { ...legacy, timesFaster } };
    print(figures);
    return figures;
  } finally {
    await http?.stop();
    await server.stop();
  }
};

/**
 * Fills a checkout's database. While a table grows from nothing and has no statistics yet, the server can decide to plan a
 * prepared statement anew each time, for the life of the connection (docs/performance.md). A database in use is not like
 * that.
 */
async function prepare(checkout: Checkout): Promise<Side> {
  await checkout.sql('create extension pg_stat_statements');
  const [hot, ...many] = (await checkout.issueKeys(101)) as [BenchKey, ...BenchKey[]];
  const [first] = (await checkout.instances(1)) as [Instance];
  await first.ask('registerMany', { key: hot, count: DEVICES_BEFORE });
  await first.stop();
  await checkout.sql('analyze');
  return { checkout, keys: { hot: [hot], many }, instances: await checkout.instances(MOST_CLIENTS) };
}

/** The functions under serverless-offline, as `npm start` runs them, in a copy of the project. */
async function startHttpService(databaseUrl: string): Promise<{ url: string; stop(): Promise<void> }> {
  const clone = cloneProject();
  const logs = mkdtempSync(path.join(tmpdir(), 'berth-bench-'));
  const port = await freePort();
  const silent = { POWERTOOLS_LOG_LEVEL: 'SILENT', POWERTOOLS_METRICS_DISABLED: 'true' };
  const env = { ...deployedEnv(databaseUrl), ...silent, BERTH_STAGE: 'local', AWS_REGION: 'eu-central-1' };
  const logFile = path.join(logs, 'offline.log');
  const offline = await startOffline({ root: clone.dir, port, env, logFile, say: () => {} });
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      await offline.stop();
      clone.remove();
      rmSync(logs, { recursive: true, force: true });
    },
  };
}

/**
 * V8 optimises the handler for thousands of calls (0.65 ms of CPU each at first, 0.45 after 5,000). These instances stand
 * for instances that live for hours.
 */
async function warmUp(bench: Bench, registrations: number): Promise<void> {
  for (const way of bench.ways) {
    const goal = way === 'http' ? registrations : registrations * MOST_CLIENTS;
    for (let done = 0; done < goal; ) {
      const seconds = bench.sliceMs / 1000;
      bench.tell(`warming up (${way}): ${Math.round((100 * done) / goal)} %`, seconds);
      const { perSecond } = await slice(bench, way, MOST_CLIENTS, 'many');
      done += perSecond * seconds;
    }
  }
}

/** All ways in turn, with the hot key and with many keys, several rounds. */
async function compare(bench: Bench, clients: number): Promise<Cell[]> {
  const rounds: Record<Kind, Record<Way, Measured>[]> = { hot: [], many: [] };
  for (let round = 1; round <= ROUNDS; round++) {
    const name = `${clients} ${clients === 1 ? 'client' : 'clients'}, round ${round} of ${ROUNDS}`;
    bench.tell(name, (bench.sliceMs / 1000) * 2 * bench.ways.length);
    // Back and forth: no way always follows the same other way.
    const ways = round % 2 === 0 ? bench.ways : bench.ways.toReversed();
    for (const kind of KINDS) {
      const measured = {} as Record<Way, Measured>;
      for (const way of ways) measured[way] = await slice(bench, way, clients, kind);
      rounds[kind].push(measured);
    }
  }
  const ratio = (kind: Kind, way: Way, toKind: Kind, toWay: Way) => {
    const ratios = rounds[kind].map((one, i) => one[way].perSecond / (rounds[toKind][i]?.[toWay].perSecond ?? 0));
    return short(median(ratios));
  };
  return KINDS.flatMap((keys) =>
    bench.ways.map((way): Cell => {
      const all = rounds[keys].map((round) => round[way]);
      const latencies = all.flatMap((one) => one.latencies);
      return {
        clients,
        keys,
        way,
        perSecond: Math.round(median(all.map((one) => one.perSecond))),
        toBare: ratio(keys, way, keys, 'bare'),
        hotToMany: keys === 'hot' ? ratio('hot', way, 'many', way) : undefined,
        toAgainst: bench.theirs && way === 'handler' ? ratio(keys, way, keys, 'against') : undefined,
        p50Ms: short(at(latencies, 0.5)),
        p99Ms: short(at(latencies, 0.99)),
        cpuMs: short(median(all.map((one) => one.cpuMs))),
        serverCpuMs: short(median(all.map((one) => one.serverCpuMs ?? 0))),
      };
    }),
  );
}

async function slice(bench: Bench, way: Way, clients: number, kind: Kind): Promise<Measured> {
  const { server, recorded, httpUrl: url, sliceMs: forMs } = bench;
  const { instances, keys } = way === 'against' ? (bench.theirs as Side) : bench.ours;
  const order = { forMs, keys: keys[kind] };
  const before = serverCpuMs(server.pid());
  const slices = await Promise.all(
    instances.slice(0, clients).map((one) => {
      if (way === 'bare') return one.ask('bare', { ...order, recorded });
      return way === 'http' ? one.ask('http', { ...order, url }) : one.ask('register', order);
    }),
  );
  const used = serverCpuMs(server.pid());
  return { ...together(slices), serverCpuMs: before && used ? (used - before) / total(slices) : undefined };
}

function together(slices: Slice[]): Omit<Measured, 'serverCpuMs'> {
  return {
    perSecond: slices.reduce((sum, { done, ms }) => sum + (done / ms) * 1000, 0),
    cpuMs: slices.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / total(slices),
    latencies: slices.flatMap(({ latencies }) => latencies),
  };
}

const total = (slices: Slice[]) => slices.reduce((sum, { done }) => sum + done, 0);

/** One client: the statement in the server, and devices that ask for their broker. */
async function measureDetails(bench: Bench) {
  const { checkout, instances, keys } = bench.ours;
  const { sliceMs: forMs, tell } = bench;
  tell('one client: statement time, GET mqtt', (forMs / 1000) * 3);
  const [instance] = instances as [Instance];
  const statement = await statementTime(checkout, () => slice(bench, 'handler', 1, 'many'));
  const device = newDevice();
  await instance.ask('registerOnce', { key: keys.hot[0] as BenchKey, device });
  const { etag: current } = (await instance.ask('mqttOnce', { device })).headers;
  const mqtt = async (etag?: string) => {
    const one = together([await instance.ask('mqtt', { forMs, device, etag })]);
    return { perSecond: Math.round(one.perSecond), p50Ms: short(at(one.latencies, 0.5)), cpuMs: short(one.cpuMs) };
  };
  return { statement, mqtt200: await mqtt(), mqtt304: await mqtt(current) };
}

/** The legacy service's hashing on all cores simultaneously, without anything else that the service did. */
async function measureLegacy({ ours, sliceMs, tell }: Bench) {
  tell('hashing as the legacy service did', (sliceMs / 1000) * 2);
  const asked = ours.instances.slice(0, availableParallelism());
  const slices = await Promise.all(asked.map((one) => one.ask('legacy', { forMs: sliceMs * 2 })));
  const { perSecond, cpuMs } = together(slices);
  return { perSecond: short(perSecond), cpuMs: Math.round(cpuMs) };
}

function print({ cells, roundTrips, statement, mqtt200, mqtt304, legacy }: RegisterFigures): void {
  const head = ['clients, keys', 'way', '/s', 'to bare', 'one key to 100', 'to against'];
  const rows = cells.map((cell) => [
    `${cell.clients}, ${cell.keys === 'hot' ? 'one' : '100'}`,
    ...[cell.way, cell.perSecond],
    ...[cell.toBare, cell.hotToMany, cell.toAgainst].map((ratio) => ratio && percent(ratio)),
    ...[cell.p50Ms, cell.p99Ms, cell.cpuMs, cell.serverCpuMs],
  ]);
  console.log(`\n${table([...head, 'p50 ms', 'p99 ms', 'CPU ms', 'server CPU ms'], rows)}\n`);
  console.log(`the statement in the server: ${JSON.stringify(statement)}`);
  console.log(`round trips: ${JSON.stringify(roundTrips)}`);
  console.log(`GET mqtt, 1 client: 200 ${JSON.stringify(mqtt200)}, 304 ${JSON.stringify(mqtt304)}`);
  console.log(`legacy hashing: ${JSON.stringify(legacy)}`);
}
