import { availableParallelism } from 'node:os';
import { addBrokerAndKeys, type BenchDatabase, benchDatabase, deployedEnv } from './database.ts';
import { type HttpService, startHttpService } from './http-service.ts';
import type { Slice } from './instance.ts';
import { type Instance, startInstances } from './instances.ts';
import { type Progress, progress } from './progress.ts';
import { type RoundTrips, recordStatement, statementTime } from './register-statement.ts';
import { type Answer, type BenchKey, newDevice } from './requests.ts';
import type { Part } from './run.ts';
import { serverCpuMs } from './server-cpu.ts';
import type { Recorded } from './statement.ts';
import { at, median, percent, short, table } from './table.ts';

const CLIENTS = [1, 8, 32];
const WAYS = ['bare', 'handler', 'http'] as const;
type Way = (typeof WAYS)[number];
/** Many short turns: a neighbour of the machine then hits all ways alike. */
const ROUNDS = 12;
/** How much longer a turn is where nothing is compared. */
const LONGER = 4;
const DEVICES_BEFORE = 5_000;

type Bench = {
  database: BenchDatabase;
  instances: Instance[];
  keys: Record<'hot' | 'many', BenchKey[]>;
  recorded: Recorded;
  roundTrips: Record<'prepared' | 'unprepared', RoundTrips>;
  http: HttpService;
  sliceMs: number;
  tell: Progress;
};
export type RegisterFigures = {
  cells: Awaited<ReturnType<typeof compare>>;
  roundTrips: Bench['roundTrips'];
  legacy: { perSecond: number; cpuMs: number; timesFaster: number };
} & Awaited<ReturnType<typeof measureDetails>>;
/** One slice of all clients together. `serverCpuMs` is per registration. */
type Measured = { perSecond: number; cpuMs: number; serverCpuMs: number | undefined; latencies: number[] };

/**
 * Registrations by the handler, called directly and through HTTP, against a bare loop of the very statement that the
 * handler sends, each client with an instance and a connection of its own. The three take turns in slices of
 * less than a second, so that what else the machine does hits them alike.
 */
export const run: Part = async ({ quick }) => {
  const sliceMs = quick ? 80 : 600;
  const warm = quick ? 50 : 3_000;
  const warmUpSeconds = (warm * Math.max(...CLIENTS)) / 700;
  const seconds = (sliceMs / 1000) * (ROUNDS * CLIENTS.length * 2 * WAYS.length + 6 * LONGER) + warmUpSeconds + 15;
  const tell = progress('register', seconds);
  tell('starting PostgreSQL, instances and serverless-offline', 15);
  const bench = await prepare(sliceMs, tell);
  try {
    const unhurried = { ...bench, sliceMs: sliceMs * LONGER };
    await warmUp(unhurried, warm);
    const cells = [];
    for (const clients of CLIENTS) cells.push(...(await compare(bench, clients)));
    const details = await measureDetails(unhurried);
    const legacy = await measureLegacy(unhurried);
    const best = Math.max(...cells.map((cell) => cell.handler));
    const { roundTrips } = bench;
    const figures = {
      cells,
      roundTrips,
      ...details,
      legacy: { ...legacy, timesFaster: short(best / legacy.perSecond) },
    };
    print(figures);
    return figures;
  } finally {
    await Promise.allSettled([bench.http.stop(), ...bench.instances.map((one) => one.stop())]);
    await bench.database.stop();
  }
};

async function prepare(sliceMs: number, tell: Progress): Promise<Bench> {
  const database = await benchDatabase({
    shared_preload_libraries: 'pg_stat_statements',
    'pg_stat_statements.track_planning': 'on',
  });
  await database.client.query('create extension pg_stat_statements');
  const [hot, ...many] = await addBrokerAndKeys(database, 101);
  const keys = { hot: [hot as BenchKey], many };
  await giveStatistics(database, hot as BenchKey);
  const { recorded, roundTrips: prepared } = await recordStatement(database, hot as BenchKey);
  const { roundTrips: unprepared } = await recordStatement(database, hot as BenchKey, { DATABASE_PREPARE: 'false' });
  const roundTrips = { prepared, unprepared };
  const instances = await startInstances(Math.max(...CLIENTS), deployedEnv(database.url));
  const http = await startHttpService(database.url);
  return { database, instances, keys, recorded, roundTrips, http, sliceMs, tell };
}

/**
 * While a table grows from nothing and has no statistics yet, the server can come to plan a prepared statement anew each time,
 * and stays with that for as long as the connection lives (docs/performance.md). A database in use isn't so.
 */
async function giveStatistics(database: BenchDatabase, key: BenchKey): Promise<void> {
  const [instance] = (await startInstances(1, deployedEnv(database.url))) as [Instance];
  await instance.ask({ kind: 'registerMany', key, count: DEVICES_BEFORE });
  await instance.stop();
  await database.client.query('analyze');
}

function print({ cells, roundTrips, statement, mqtt200, mqtt304, legacy }: RegisterFigures): void {
  const head = [
    'clients, keys',
    'bare/s',
    'handler/s',
    'ratio',
    'HTTP/s',
    'ratio',
    'p50 ms',
    'p99 ms',
    'handler CPU ms',
    'bare CPU ms',
    'server CPU ms',
  ];
  const rows = cells.map((cell) => [
    `${cell.clients}, ${cell.keys === 'hot' ? 'one' : '100'}`,
    ...[cell.bare, cell.handler, percent(cell.handlerToBare), cell.http, percent(cell.httpToBare)],
    ...[cell.p50Ms, cell.p99Ms, cell.handlerCpuMs, cell.bareCpuMs, cell.serverCpuMs],
  ]);
  console.log(`\n${table(head, rows)}\n`);
  for (const { clients, hotToMany, bareHotToMany } of cells) {
    if (hotToMany && bareHotToMany) {
      console.log(
        `one key against 100, ${clients} clients: handler ${percent(hotToMany)}, bare ${percent(bareHotToMany)}`,
      );
    }
  }
  console.log(`the statement in the server: ${JSON.stringify(statement)}`);
  console.log(`round trips: ${JSON.stringify(roundTrips)}`);
  console.log(`GET mqtt, 1 client: 200 ${JSON.stringify(mqtt200)}, 304 ${JSON.stringify(mqtt304)}`);
  console.log(`legacy hashing: ${JSON.stringify(legacy)}`);
}

/**
 * V8 goes on making the handler faster for thousands of calls (0.65 ms of CPU each at first, 0.45 after 5,000), and
 * these instances shall stand for ones that live for hours.
 */
async function warmUp(bench: Bench, registrations: number): Promise<void> {
  for (const way of ['handler', 'bare', 'http'] as const) {
    const wanted = way === 'http' ? registrations : registrations * bench.instances.length;
    for (let done = 0; done < wanted; ) {
      const seconds = bench.sliceMs / 1000;
      bench.tell(`warming up (${way}): ${Math.round((100 * done) / wanted)} %`, seconds);
      const { perSecond } = await slice(bench, way, bench.instances.length, bench.keys.many);
      done += perSecond * seconds;
    }
  }
}

/** All ways in turn with the one key and the many, several rounds. */
async function compare(bench: Bench, clients: number) {
  const rounds: Record<'hot' | 'many', Record<Way, Measured>[]> = { hot: [], many: [] };
  for (let round = 1; round <= ROUNDS; round++) {
    const name = `${clients} ${clients === 1 ? 'client' : 'clients'}, round ${round} of ${ROUNDS}`;
    bench.tell(name, (bench.sliceMs / 1000) * 2 * WAYS.length);
    for (const kind of ['hot', 'many'] as const) {
      const measured: Partial<Record<Way, Measured>> = {};
      for (const way of WAYS) measured[way] = await slice(bench, way, clients, bench.keys[kind]);
      rounds[kind].push(measured as Record<Way, Measured>);
    }
  }
  const rates = (kind: 'hot' | 'many', way: Way) => rounds[kind].map((round) => round[way].perSecond);
  const ratio = (above: number[], below: number[]) =>
    short(median(above.map((rate, i) => rate / (below[i] as number))));
  return (['hot', 'many'] as const).map((kind) => {
    const all = (figure: 'cpuMs' | 'serverCpuMs', way: Way) =>
      median(rounds[kind].map((round) => round[way][figure] ?? 0));
    const latencies = rounds[kind].flatMap((round) => round.handler.latencies);
    return {
      clients,
      keys: kind,
      bare: Math.round(median(rates(kind, 'bare'))),
      handler: Math.round(median(rates(kind, 'handler'))),
      http: Math.round(median(rates(kind, 'http'))),
      handlerToBare: ratio(rates(kind, 'handler'), rates(kind, 'bare')),
      httpToBare: ratio(rates(kind, 'http'), rates(kind, 'bare')),
      hotToMany: kind === 'hot' ? ratio(rates('hot', 'handler'), rates('many', 'handler')) : undefined,
      bareHotToMany: kind === 'hot' ? ratio(rates('hot', 'bare'), rates('many', 'bare')) : undefined,
      p50Ms: short(at(latencies, 0.5)),
      p99Ms: short(at(latencies, 0.99)),
      handlerCpuMs: short(all('cpuMs', 'handler')),
      bareCpuMs: short(all('cpuMs', 'bare')),
      serverCpuMs: short(all('serverCpuMs', 'handler')),
    };
  });
}

async function slice(bench: Bench, way: Way, clients: number, keys: BenchKey[]): Promise<Measured> {
  const { sliceMs: forMs, recorded, http } = bench;
  const order = {
    bare: { kind: 'bare', recorded },
    handler: { kind: 'register' },
    http: { kind: 'http', url: http.url },
  } as const;
  const before = serverCpuMs(bench.database.postmaster);
  const asked = bench.instances.slice(0, clients);
  const slices = await Promise.all(asked.map((one) => one.ask<Slice>({ ...order[way], forMs, keys })));
  const used = serverCpuMs(bench.database.postmaster);
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
  const { database, instances, keys, sliceMs, tell } = bench;
  tell('one client: statement time, GET mqtt', (sliceMs / 1000) * 3);
  const [instance] = instances as [Instance];
  const statement = await statementTime(database, () => slice(bench, 'handler', 1, keys.many));
  const device = newDevice();
  await instance.ask({ kind: 'registerOnce', key: keys.hot[0] as BenchKey, device });
  const { etag } = (await instance.ask<Answer>({ kind: 'mqttOnce', device })).headers;
  const mqtt = async (known?: string) => {
    const one = together([
      await instance.ask<Slice>({ kind: 'mqtt', forMs: sliceMs, device, ...(known ? { etag: known } : {}) }),
    ]);
    return { perSecond: Math.round(one.perSecond), p50Ms: short(at(one.latencies, 0.5)), cpuMs: short(one.cpuMs) };
  };
  return { statement, mqtt200: await mqtt(), mqtt304: await mqtt(etag) };
}

/** The legacy service's hashing on all cores at once, without anything else that it did. */
async function measureLegacy({ instances, sliceMs, tell }: Bench) {
  tell('hashing as the legacy service did', (sliceMs / 1000) * 2);
  const asked = instances.slice(0, availableParallelism());
  const order = { kind: 'legacy', forMs: sliceMs * 2 } as const;
  const { perSecond, cpuMs } = together(await Promise.all(asked.map((one) => one.ask<Slice>(order))));
  return { perSecond: short(perSecond), cpuMs: Math.round(cpuMs) };
}
