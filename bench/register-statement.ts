import { type BenchDatabase, deployedEnv } from './database.ts';
import { startInstances } from './instances.ts';
import { type BenchDevice, type BenchKey, newDevice } from './requests.ts';
import { type Recorded, understand } from './statement.ts';
import { short } from './table.ts';
import { type Sent, tapWire } from './wire.ts';

const REPEATED = 10;

/** Round trips to the server, `first` with making the connection and preparing the statement. */
export type RoundTrips = { first: number; each: number };

/**
 * Registers devices through an instance whose connection is listened to.
 * @returns the statement as it is on the wire, and the round trips of a registration
 */
export async function recordStatement(
  database: BenchDatabase,
  key: BenchKey,
  env: Record<string, string> = {},
): Promise<{ recorded: Recorded; roundTrips: RoundTrips }> {
  const wire = await tapWire(database.port);
  const url = new URL(database.url);
  url.port = String(wire.port);
  const [instance] = await startInstances(1, { ...deployedEnv(url.href), ...env });
  const register = async (count: number) => {
    const before = wire.roundTrips();
    const devices = Array.from({ length: count }, newDevice);
    for (const device of devices) await instance?.ask({ kind: 'registerOnce', key, device });
    return { last: devices.at(-1) as BenchDevice, roundTrips: (wire.roundTrips() - before) / count };
  };
  const first = await register(1);
  const next = await register(REPEATED);
  await instance?.stop();
  await wire.close();
  const sent = wire.statements().filter(({ text }) => text.includes('insert into devices'));
  if (sent.length !== 1) throw new Error(`${sent.length} statements register, one was expected`);
  return {
    recorded: understand(sent[0] as Sent, { uuid: next.last.uuid, key }),
    roundTrips: { first: first.roundTrips, each: next.roundTrips },
  };
}

/**
 * What the statement takes in the server, in ms, by pg_stat_statements, while `run` registers devices. The commit
 * (a write to disk that is waited for) comes after what it counts.
 */
export async function statementTime({ client }: BenchDatabase, run: () => Promise<unknown>) {
  await client.query('select pg_stat_statements_reset()');
  await run();
  const { rows } = await client.query(
    `select calls, plans, mean_exec_time as exec, total_plan_time as plan, wal_bytes::float8 / calls as wal
     from pg_stat_statements where query like '%insert into devices%' order by calls desc limit 1`,
  );
  const { calls, plans, exec, plan, wal } = rows[0];
  return {
    execMs: short(exec),
    planMs: short(plan / calls),
    calls: Number(calls),
    plans: Number(plans),
    walBytes: Math.round(wal),
  };
}
