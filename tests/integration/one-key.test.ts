import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { addBroker, type Berth, counts, issueKey, newDevice, startBerth } from '../support/berth.ts';
import { crowd } from '../support/crowd.ts';

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
});
afterAll(() => berth.stop());

const QUEUE = 16;
const PLACES = 10;

it('16 registrations that have all seen 10 places free: 10 get one, 6 a clean 401', async () => {
  const { id, key } = await issueKey({ maxDevices: PLACES });
  const release = await holdKey(id);
  const calls = Array.from({ length: QUEUE }, () => ({
    target: 'POST /api/v1/device/register',
    options: { headers: { authorization: `Bearer ${key}` }, body: newDevice() },
  }));
  const answering = crowd(calls, QUEUE);
  try {
    await queued(QUEUE);
  } finally {
    await release();
  }

  const outcomes = (await answering).map(({ status, body }) => `${status} ${body.code ?? ''}`).sort();
  expect(outcomes).toEqual([
    ...Array(PLACES).fill('200 '),
    ...Array(QUEUE - PLACES).fill('401 provisioning-key-exhausted'),
  ]);
  const each = { devices: PLACES, users: PLACES, acls: PLACES, events: PLACES, used: PLACES };
  expect(await counts(berth)).toEqual(each);
});

/** Locks the key's row until what it answers is called. */
async function holdKey(id: string): Promise<() => Promise<void>> {
  const holder = new pg.Client({ connectionString: berth.databaseUrl });
  await holder.connect();
  await holder.query('begin');
  await holder.query('select from provisioning_keys where id = $1 for update', [id]);
  return () => holder.end();
}

/** Waits until so many statements wait for a lock. */
async function queued(count: number): Promise<void> {
  for (const end = Date.now() + 30_000; ; await sleep(10)) {
    const [row] = await berth.sql(
      `select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    if (row?.waiting === count) return;
    if (Date.now() > end) throw new Error(`${row?.waiting} of ${count} wait`);
  }
}
