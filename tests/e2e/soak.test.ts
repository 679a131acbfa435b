import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { ADMIN_TOKEN, admin, PEPPER } from '../support/berth.ts';
import { checkHistory, type History, type Key, keepRegistering, repeat } from '../support/history.ts';
import { type Instance, startInstances } from '../support/instances.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';
import { seeded } from '../support/random.ts';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const SOAK_MS = Number(process.env.SOAK_MS ?? 60_000);
const INSTANCES = 6;

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

it(`registers through ${SOAK_MS / 1_000} s of resets, stalls and crashes, and loses nothing`, async () => {
  const random = seeded();
  const { postgres, proxy, instances } = await setUp();
  const keys = [await issue(instances, 10_000), await issue(instances, 300)] as [Key, Key];
  const history: History = [];
  const end = Date.now() + SOAK_MS;
  const isOver = () => Date.now() >= end;
  const acknowledged = () => history.filter(({ answer }) => answer.status === 200).length;
  const trouble = makeTrouble({ postgres, proxy, random, isOver, acknowledged });
  await Promise.all([
    trouble,
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
  const repeated = await repeat(history, instances[0] as Instance);
  // What a lost connection leaves behind on the server ends; an instance keeps one.
  const [open] = await postgres.sql(`select count(*)::int from pg_stat_activity where application_name = 'berth'`);
  console.log(
    `seed ${random.seed}: ${summary(history)}, ${JSON.stringify({ ...(await trouble), ...repeated, open: open?.count })}`,
  );
  expect(open?.count).toBeLessThanOrEqual(INSTANCES);
  expect(acknowledged()).toBeGreaterThan(SOAK_MS / 100);
}, 180_000);

it('follows a standby that is promoted: nothing acknowledged is lost, and within 2 s it goes on', async () => {
  const { postgres, proxy, instances } = await setUp();
  const key = await issue(instances, 10_000);
  await postgres.stop();
  const standby = await postgres.addStandby();
  endings.push(() => standby.remove());
  await waitFor(async () => {
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
  // The name may lead to the standby before it takes writes.
  proxy.aim(standby.port);
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

async function waitFor(isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isSo()); tries++) {
    if (tries === 100) throw new Error('waited in vain');
    await sleep(100);
  }
}

/** A server of its own behind a proxy, and instances of the handlers that reach it through there. */
async function setUp(settings: Record<string, string> = {}) {
  const postgres = await startOwnPostgres({ max_connections: '200', ...settings });
  endings.push(() => postgres.remove());
  const proxy = await startProxy(postgres.port);
  endings.push(() => proxy.close());
  const url = new URL(postgres.url);
  url.port = String(proxy.port);
  const instances = await startInstances(INSTANCES, {
    DATABASE_URL: url.href,
    BERTH_PEPPER: PEPPER,
    ADMIN_AUTH: 'token',
    ADMIN_TOKEN_HASH: sha256Hex(ADMIN_TOKEN),
    MQTT_BROKER_URL: 'mqtt://mqtt.example.com',
  });
  endings.push(() => Promise.all(instances.map((instance) => instance.stop())));
  return { postgres, proxy, instances };
}

async function issue([instance]: Instance[], maxDevices: number): Promise<Key> {
  const { body } = await (instance as Instance).call('POST /api/v1/provisioning-keys', {
    headers: admin,
    body: { fleetId: 'fleet-a', maxDevices },
  });
  return { id: body.id, key: body.key, maxDevices };
}

type Scene = {
  postgres: OwnPostgres;
  proxy: TcpProxy;
  random: ReturnType<typeof seeded>;
  isOver: () => boolean;
  /** How many registrations have been acknowledged so far. */
  acknowledged: () => number;
};

/** One trouble after the other, with good times between; answers how often each was. */
async function makeTrouble({ postgres, proxy, random, isOver, acknowledged }: Scene): Promise<Record<string, number>> {
  const line = (mode: Parameters<TcpProxy['set']>[0], min: number, max: number) => async () => {
    await proxy.set(mode, random.between(50, 400));
    await sleep(random.between(min, max));
    await proxy.set('pass');
  };
  const server = (how: 'stop' | 'kill') => async () => {
    // In the midst of work: those that the trouble before has stalled would have nothing to lose.
    const before = acknowledged();
    for (const end = Date.now() + 7_000; acknowledged() < before + 30 && Date.now() < end; ) await sleep(10);
    await postgres[how]();
    await sleep(random.between(0, 1_500));
    await postgres.start();
  };
  const troubles = {
    reset: line('reset', 10, 500),
    delay: line('delay', 200, 1_500),
    stall: line('stall', 100, 3_000),
    longStall: line('stall', 5_000, 7_000),
    halfOpen: line('half-open', 0, 200),
    refuse: line('refuse', 100, 1_000),
    terminate: () =>
      postgres.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth'`),
    stop: server('stop'),
    kill: server('kill'),
  };
  const names = Object.keys(troubles) as (keyof typeof troubles)[];
  const counts: Record<string, number> = {};
  // Each once, in an order of its own; then whatever comes.
  const once = [...names].sort(() => random.below(3) - 1);
  while (!isOver()) {
    const name = once.pop() ?? random.pick(names.filter((one) => one !== 'longStall'));
    counts[name] = (counts[name] ?? 0) + 1;
    await troubles[name]();
    await sleep(random.between(200, 1_200));
  }
  return counts;
}

function summary(history: History): string {
  const outcomes = Object.groupBy(history, ({ answer }) => (answer.status === 200 ? 'ok' : answer.body.code));
  const counts = Object.entries(outcomes).map(([name, all]) => `${all?.length} ${name}`);
  return `${counts.join(', ')}, longest ${Math.max(...history.map(({ answer }) => answer.ms))} ms`;
}
