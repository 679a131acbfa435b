import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { type Offline, startOffline } from '../local/offline.ts';
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
type Kind = 'hot' | 'many';
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
type Cell = Awaited<ReturnType<typeof compare>>[number];
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
    const best = Math.max(...cells.filter(({ clients }) => clients === 8).map(({ handler }) => handler));
    const timesFaster = short(best / legacy.perSecond);
    const figures = { cells, roundTrips, ...details, legacy: { ...legacy, timesFaster } };
    print(figures, against);
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
  const offline: Offline = await startOffline({ root: clone.dir, port, env, logFile, say: () => {} });
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
async function compare(bench: Bench, clients: number) {
  const rounds: Record<Kind, Record<Way, Measured>[]> = { hot: [], many: [] };
  for (let round = 1; round <= ROUNDS; round++) {
    const name = `${clients} ${clients === 1 ? 'client' : 'clients'}, round ${round} of ${ROUNDS}`;
    bench.tell(name, (bench.sliceMs / 1000) * 2 * bench.ways.length);
    // Back and forth: no way always follows the same other way.
    const ways = round % 2 === 0 ? bench.ways : bench.ways.toReversed();
    for (const kind of ['hot', 'many'] as const) {
      const measured = {} as Record<Way, Measured>;
      for (const way of ways) measured[way] = await slice(bench, way, clients, kind);
      rounds[kind].push(measured);
    }
  }
  const all = (kind: Kind, way: Way, figure: 'perSecond' | 'cpuMs' | 'serverCpuMs') =>
    rounds[kind].map((round) => round[way]?.[figure] ?? 0);
  const rate = (kind: Kind, way: Way) => all(kind, way, 'perSecond');
  const ratio = (above: number[], below: number[]) =>
    short(median(above.map((rate, i) => rate / (below[i] as number))));
  return (['hot', 'many'] as const).map((kind) => {
    const middle = (way: Way, figure: 'cpuMs' | 'serverCpuMs') => short(median(all(kind, way, figure)));
    const latencies = (way: Way) => rounds[kind].flatMap((round) => round[way].latencies);
    return {
      clients,
      keys: kind,
      bare: Math.round(median(rate(kind, 'bare'))),
      handler: Math.round(median(rate(kind, 'handler'))),
      http: Math.round(median(rate(kind, 'http'))),
      handlerToBare: ratio(rate(kind, 'handler'), rate(kind, 'bare')),
      httpToBare: ratio(rate(kind, 'http'), rate(kind, 'bare')),
      hotToMany: kind === 'hot' ? ratio(rate('hot', 'handler'), rate('many', 'handler')) : undefined,
      bareHotToMany: kind === 'hot' ? ratio(rate('hot', 'bare'), rate('many', 'bare')) : undefined,
      p50Ms: short(at(latencies('handler'), 0.5)),
      p99Ms: short(at(latencies('handler'), 0.99)),
      handlerCpuMs: middle('handler', 'cpuMs'),
      bareCpuMs: middle('bare', 'cpuMs'),
      serverCpuMs: middle('handler', 'serverCpuMs'),
      against: bench.theirs && {
        perSecond: Math.round(median(rate(kind, 'against'))),
        handlerToAgainst: ratio(rate(kind, 'handler'), rate(kind, 'against')),
        p50Ms: short(at(latencies('against'), 0.5)),
        p99Ms: short(at(latencies('against'), 0.99)),
        cpuMs: middle('against', 'cpuMs'),
        serverCpuMs: middle('against', 'serverCpuMs'),
      },
    };
  });
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

function print(figures: RegisterFigures, against: string | undefined): void {
  const { cells, roundTrips, statement, mqtt200, mqtt304, legacy } = figures;
  const name = ({ clients, keys }: Cell) => `${clients}, ${keys === 'hot' ? 'one' : '100'}`;
  const [latency, cpu] = [
    ['p50 ms', 'p99 ms'],
    ['handler CPU ms', 'bare CPU ms', 'server CPU ms'],
  ];
  const head = ['clients, keys', 'bare/s', 'handler/s', 'ratio', 'HTTP/s', 'ratio', ...latency, ...cpu];
  const rows = cells.map((cell) => [
    ...[name(cell), cell.bare, cell.handler, percent(cell.handlerToBare), cell.http, percent(cell.httpToBare)],
    ...[cell.p50Ms, cell.p99Ms, cell.handlerCpuMs, cell.bareCpuMs, cell.serverCpuMs],
  ]);
  console.log(`\n${table(head, rows)}\n`);
  if (against) printAgainst(cells, against, name);
  for (const { clients, hotToMany, bareHotToMany } of cells) {
    if (hotToMany && bareHotToMany) {
      const ratios = `handler ${percent(hotToMany)}, bare ${percent(bareHotToMany)}`;
      console.log(`one key against 100, ${clients} clients: ${ratios}`);
    }
  }
  console.log(`the statement in the server: ${JSON.stringify(statement)}`);
  console.log(`round trips: ${JSON.stringify(roundTrips)}`);
  console.log(`GET mqtt, 1 client: 200 ${JSON.stringify(mqtt200)}, 304 ${JSON.stringify(mqtt304)}`);
  console.log(`legacy hashing: ${JSON.stringify(legacy)}`);
}

function printAgainst(cells: Cell[], against: string, name: (cell: Cell) => string): void {
  const head = ['clients, keys', 'there/s', 'here to there', 'p50 ms', 'p99 ms', 'CPU ms', 'server CPU ms'];
  const rows = cells.map((cell) => {
    const { perSecond, handlerToAgainst, p50Ms, p99Ms, cpuMs, serverCpuMs } = cell.against ?? ({} as never);
    return [name(cell), perSecond, percent(handlerToAgainst), p50Ms, p99Ms, cpuMs, serverCpuMs];
  });
  console.log(`the handler in ${against}:\n\n${table(head, rows)}\n`);
}
