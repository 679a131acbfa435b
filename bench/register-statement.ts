import type { Instance } from './instances.ts';
import { type BenchDevice, type BenchKey, newDevice } from './requests.ts';
import type { Checkout } from './server.ts';
import { type Recorded, understand } from './statement.ts';
import { short } from './table.ts';
import { type Sent, tapWire } from './wire.ts';

const REPEATED = 10;

/** Round trips to the server. `first` includes connecting and preparing the statement. */
export type RoundTrips = { first: number; each: number };

/**
 * Registers devices through an instance whose connection is recorded.
 * @returns the statement as it is on the wire, and the round trips of a registration
 */
export async function recordStatement(
  checkout: Checkout,
  key: BenchKey,
  env: Record<string, string> = {},
): Promise<{ recorded: Recorded; roundTrips: RoundTrips }> {
  const url = new URL(checkout.url);
  const wire = await tapWire(Number(url.port));
  url.port = String(wire.port);
  const [instance] = (await checkout.instances(1, 'register', { DATABASE_URL: url.href, ...env })) as [Instance];
  const register = async (count: number) => {
    const before = wire.roundTrips();
    const devices = Array.from({ length: count }, newDevice);
    for (const device of devices) await instance.ask('registerOnce', { key, device });
    return { last: devices.at(-1) as BenchDevice, roundTrips: (wire.roundTrips() - before) / count };
  };
  const first = await register(1);
  const next = await register(REPEATED);
  await instance.stop();
  await wire.close();
  const sent = wire.statements().filter(({ text }) => text.includes('insert into devices'));
  if (sent.length !== 1) throw new Error(`${sent.length} statements register, expected one`);
  return {
    recorded: understand(sent[0] as Sent, { uuid: next.last.uuid, key }),
    roundTrips: { first: first.roundTrips, each: next.roundTrips },
  };
}

/**
 * The statement's time in the server in ms, by pg_stat_statements, while `run` registers devices. The commit, which waits
 * for the disk, is not included.
 */
export async function statementTime({ sql }: Checkout, run: () => Promise<unknown>) {
  await sql('select pg_stat_statements_reset()');
  await run();
  const { rows } = await sql(
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
