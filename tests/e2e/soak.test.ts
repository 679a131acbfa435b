import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { ADMIN_TOKEN, admin, issueKey, newDevice, PEPPER } from '../support/berth.ts';
import {
  attempt,
  BUDGET_MS,
  checkHistory,
  type History,
  type Key,
  keepRegistering,
  repeat,
} from '../support/history.ts';
import { type Instance, startInstances, stopInstances } from '../support/instances.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';
import { APP_ROLE } from '../support/postgres.ts';
import { seeded } from '../support/random.ts';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const SOAK_MS = Number(process.env.SOAK_MS ?? 60_000);
const INSTANCES = 6;
/** Instances that a fleet with a revoked key keeps busy. */
const FLOODED = 2;
/** Refusals of one key and address that are recorded in 15 minutes. */
const RECORDED = 20;

it(`${SOAK_MS / 1_000} s of network faults, crashes, held locks and a dead key's flood: no acknowledged registration is lost or charged twice`, async () => {
  const random = seeded();
  const { postgres, proxy, instances } = await setUp();
  const keys = [await issue(instances, 10_000), await issue(instances, 300)] as [Key, Key];
  const deadKey = await revoked(instances);
  const history: History = [];
  const end = Date.now() + SOAK_MS;
  const isOver = () => Date.now() >= end;
  const acknowledged = () => history.filter(({ answer }) => answer.status === 200).length;
  const faults = causeFaults({ postgres, proxy, random, isOver, acknowledged, keyId: keys[0].id });
  const flooded = instances.splice(INSTANCES);
  const flood = floodWithDeadKey(deadKey, flooded, isOver);
  const busiest = watchBackends(postgres, isOver);
  await Promise.all([
    faults,
    flood,
    busiest,
    ...instances.map((instance, n) =>
      keepRegistering(history, instance, {
        retryAt: instances[(n + 1) % INSTANCES] as Instance,
        keyOf: (n) => keys[n % 8 === 0 ? 1 : 0].key,
        isOver,
        pauseMs: 20,
      }),
    ),
  ]);
  await checkHistory(postgres, history, keys);
  await checkFlood(postgres, await flood);
  const repeated = await repeat(history, instances[0] as Instance);
  // Each instance keeps one connection; the server has closed the lost ones.
  const [open] = await postgres.sql(`select count(*)::int from pg_stat_activity where application_name = 'berth'`);
  console.log(
    `seed ${random.seed}: ${summary(history)}, ${JSON.stringify({ ...(await faults), ...repeated, open: open?.count, busiest: await busiest })}`,
  );
  console.log(`flood: ${summary(await flood)}`);
  expect(open?.count).toBeLessThanOrEqual(INSTANCES + FLOODED);
  expect(await busiest, 'statements whose clients have given up').toBeLessThan(5 * INSTANCES);
  expect(acknowledged()).toBeGreaterThan(SOAK_MS / 100);
}, 180_000);

it('promotion of a standby: no acknowledged registration is lost, and each instance registers again within 2 s', async () => {
  const { postgres, proxy, instances } = await setUp();
  const key = await issue(instances, 10_000);
  await postgres.stop();
  const standby = await postgres.addStandby();
  onTestFinished(() => standby.remove());
  await waitUntil(async () => {
    await postgres.sql(`alter system set synchronous_standby_names = '*'`);
    await postgres.sql('select pg_reload_conf()');
    const [follower] = await postgres.sql('select sync_state from pg_stat_replication');
    return follower?.sync_state === 'sync';
  });

  let isOver = false;
  const histories = instances.map((): History => []);
  const working = instances.map((instance, n) =>
    keepRegistering(histories[n] as History, instance, {
      retryAt: instance,
      keyOf: () => key.key,
      isOver: () => isOver,
      pauseMs: 5,
    }),
  );
  await sleep(1_500);
  await postgres.kill();
  // A DNS name may point to the standby before it accepts writes.
  proxy.retarget(standby.port);
  await sleep(1_000);
  await standby.sql('select pg_promote(true, 30)');
  const promotedAt = Date.now();
  await sleep(3_000);
  isOver = true;
  await Promise.all(working);

  const history = histories.flat();
  await checkHistory(standby, history, [key]);
  const gaps = histories
    .map((own) => own.find((one) => one.answer.status === 200 && one.answeredAt > promotedAt))
    .map((one) => (one?.answeredAt ?? Infinity) - promotedAt);
  console.log(`promotion: ${summary(history)}; back after ${gaps.join(', ')} ms`);
  expect(history.filter(({ answeredAt }) => answeredAt < promotedAt).length).toBeGreaterThan(100);
  expect(Math.max(...gaps)).toBeLessThan(2_000);
});

async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries === 100) throw new Error('the condition was not met within 10 s');
    await sleep(100);
  }
}

/** Starts a Postgres server behind a fault proxy, and instances that connect through the proxy. */
async function setUp() {
  const postgres = await startOwnPostgres({ max_connections: '200' });
  onTestFinished(() => postgres.remove());
  // The role whose statements have limits.
  const url = Object.assign(new URL(postgres.url), { username: APP_ROLE });
  await postgres.sql(`create role ${APP_ROLE} login password ${pg.escapeLiteral(url.password)}`);
  await migrate(postgres.url, { appUser: APP_ROLE });
  const proxy = await startProxy(postgres.port);
  onTestFinished(() => proxy.close());
  url.port = String(proxy.port);
  const instances = await startInstances(INSTANCES + FLOODED, {
    DATABASE_URL: url.href,
    BERTH_PEPPER: PEPPER,
    ADMIN_AUTH: 'token',
    ADMIN_TOKEN_HASH: sha256Hex(ADMIN_TOKEN),
    MQTT_BROKER_URL: 'mqtt://mqtt.example.com',
  });
  onTestFinished(() => stopInstances(instances));
  return { postgres, proxy, instances };
}

async function issue([instance]: Instance[], maxDevices: number): Promise<Key> {
  const { id, key } = await issueKey({ maxDevices }, { make: (instance as Instance).call });
  return { id, key, maxDevices };
}

/** A provisioning key that was revoked. */
async function revoked(instances: Instance[]): Promise<string> {
  const { id, key } = await issue(instances, 10);
  const { status } = await (instances[0] as Instance).call(`DELETE /api/v1/provisioning-keys/${id}`, {
    headers: admin,
  });
  expect(status).toBe(200);
  return key;
}

/** Devices with a dead key, all behind one address: each asks once. */
async function floodWithDeadKey(key: string, instances: Instance[], isOver: () => boolean): Promise<History> {
  const history: History = [];
  const flood = async (instance: Instance) => {
    while (!isOver()) {
      await attempt(history, instance, key, newDevice());
      await sleep(5);
    }
  };
  await Promise.all(instances.map(flood));
  return history;
}

/** Every device of the flood learns why it is refused, and few refusals are recorded. */
async function checkFlood(postgres: OwnPostgres, history: History): Promise<void> {
  expect(history.length).toBeGreaterThan(RECORDED);
  for (const { answer } of history) {
    expect(answer.body.code).toMatch(/^(provisioning-key-revoked|database-unavailable)$/);
    expect(answer.ms, 'a refusal that hung').toBeLessThan(BUDGET_MS);
  }
  const [recorded] = await postgres.sql(
    `select count(*)::int from device_events where type = 'refused' and reason = 'provisioning-key-revoked'`,
  );
  expect(recorded?.count).toBe(RECORDED);
}

/** @returns the largest number of statements that ran for the instances simultaneously */
async function watchBackends(postgres: OwnPostgres, isOver: () => boolean): Promise<number> {
  const active = `select count(*)::int from pg_stat_activity where application_name = 'berth' and state = 'active'`;
  let most = 0;
  while (!isOver()) {
    const [row] = await postgres.sql(active).catch(() => []);
    most = Math.max(most, row?.count ?? 0);
    await sleep(100);
  }
  return most;
}

type FaultOptions = {
  postgres: OwnPostgres;
  proxy: TcpProxy;
  random: ReturnType<typeof seeded>;
  isOver: () => boolean;
  /** The number of registrations acknowledged so far. */
  acknowledged: () => number;
  /** A provisioning key whose row somebody locks. */
  keyId: string;
};

/** Causes one fault after the other, with pauses between them. @returns how often each occurred */
async function causeFaults({
  postgres,
  proxy,
  random,
  isOver,
  acknowledged,
  keyId,
}: FaultOptions): Promise<Record<string, number>> {
  const network = (mode: Parameters<TcpProxy['set']>[0], min: number, max: number) => async () => {
    await proxy.set(mode, random.between(50, 400));
    await sleep(random.between(min, max));
    await proxy.set('pass');
  };
  const server = (how: 'stop' | 'kill') => async () => {
    // Wait until instances register again: stalled by the fault before, they would have nothing to lose.
    const before = acknowledged();
    for (const end = Date.now() + 7_000; acknowledged() < before + 30 && Date.now() < end; ) await sleep(10);
    await postgres[how]();
    await sleep(random.between(0, 1_500));
    await postgres.start();
  };
  const actions = {
    reset: network('reset', 10, 500),
    delay: network('delay', 200, 1_500),
    stall: network('stall', 100, 3_000),
    longStall: network('stall', 5_000, 7_000),
    halfOpen: network('half-open', 0, 200),
    refuse: network('refuse', 100, 1_000),
    terminate: () =>
      postgres.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth'`),
    hold: async () => {
      const holder = new pg.Client({ connectionString: postgres.url });
      await holder.connect();
      await holder.query('begin');
      await holder.query('select from provisioning_keys where id = $1 for update', [keyId]);
      await sleep(random.between(1_000, 8_000));
      await holder.end();
    },
    stop: server('stop'),
    kill: server('kill'),
  };
  const names = Object.keys(actions) as (keyof typeof actions)[];
  const counts: Record<string, number> = {};
  // Each fault once in random order, then random ones.
  const once = random.shuffled(names);
  while (!isOver()) {
    const name = once.pop() ?? random.pick(names.filter((one) => one !== 'longStall'));
    counts[name] = (counts[name] ?? 0) + 1;
    await actions[name]();
    await sleep(random.between(200, 1_200));
  }
  return counts;
}

function summary(history: History): string {
  const outcomes = Object.groupBy(history, ({ answer }) => (answer.status === 200 ? 'ok' : answer.body.code));
  const counts = Object.entries(outcomes).map(([name, all]) => `${all?.length} ${name}`);
  return `${counts.join(', ')}, longest ${Math.max(...history.map(({ answer }) => answer.ms))} ms`;
}
