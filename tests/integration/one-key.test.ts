import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { beforeAll, beforeEach, expect, it } from 'vitest';
import type { Answer } from '../support/api.ts';
import { counts, type Device, issueKey, newDevice, registration, useBerth } from '../support/berth.ts';
import { callConcurrently } from '../support/concurrent-calls.ts';
import { APP_ROLE } from '../support/postgres.ts';

const berth = useBerth();
// The limits of the role would end the first waits before the last of 16 processes has started.
beforeAll(async () => {
  for (const limit of ['lock_timeout', 'statement_timeout']) {
    await berth.sql(
      `do $$ begin execute format('alter role ${APP_ROLE} in database %I set ${limit} = ''30s''', current_database()); end $$`,
    );
  }
});
beforeEach(() => berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events'));

/**
 * Sends a registration of each device; all of them find room on the key, then wait for its lock.
 * @param change SQL for SET: a change of the key that is committed with the end of the lock
 */
async function registerInQueue(maxDevices: number, devices: Device[], change?: string): Promise<Answer[]> {
  const { id, key } = await issueKey({ maxDevices });
  const release = await lockKey(id, change);
  const answers = callConcurrently(
    devices.map((device) => registration(key, device)),
    devices.length,
  );
  try {
    await waitForLocks(devices.length);
  } finally {
    await release();
  }
  return answers;
}

it('16 registrations that wait for the lock of a key with 10 places: 10 × 200, 6 × 401 provisioning-key-exhausted', async () => {
  const answers = await registerInQueue(
    10,
    Array.from({ length: 16 }, () => newDevice()),
  );
  const outcomes = answers.map(({ status, body }) => `${status} ${body.code ?? ''}`).sort();
  expect(outcomes).toEqual([...Array(10).fill('200 '), ...Array(6).fill('401 provisioning-key-exhausted')]);
  expect(await counts(berth)).toEqual({ devices: 10, users: 10, acls: 10, events: 10, used: 10 });
});

it('16 registrations of one device that wait for the lock of a key with 1 place: 16 × 200 with the same credentials', async () => {
  const answers = await registerInQueue(1, Array(16).fill(newDevice()));
  expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(200));
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  expect(await counts(berth)).toEqual({ devices: 1, users: 1, acls: 1, events: 1, used: 1 });
});

it.each([
  ['provisioning-key-revoked', 'is_active = false'],
  ['provisioning-key-expired', `expires_at = berth_now() - interval '1 second'`],
])(
  '401 %s, and nothing is written, when that happens while the registration waits for the lock',
  async (code, change) => {
    const [answer] = await registerInQueue(10, [newDevice()], change);
    expect(answer).toMatchObject({ status: 401, body: { code } });
    expect(await counts(berth)).toEqual({ devices: 0, users: 0, acls: 0, events: 0, used: 0 });
  },
);

/** Locks the key's row. @returns a function that makes the change, if any, and releases the lock */
async function lockKey(id: string, change?: string): Promise<() => Promise<void>> {
  const holder = new pg.Client({ connectionString: berth.databaseUrl });
  await holder.connect();
  await holder.query('begin');
  await holder.query('select from provisioning_keys where id = $1 for update', [id]);
  return async () => {
    if (change) await holder.query(`update provisioning_keys set ${change} where id = $1`, [id]);
    await holder.query('commit');
    await holder.end();
  };
}

/** Waits until `count` statements wait for a lock. */
async function waitForLocks(count: number): Promise<void> {
  for (const end = Date.now() + 30_000; ; await sleep(10)) {
    const [row] = await berth.sql(
      `select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    if (row?.waiting === count) return;
    if (Date.now() > end) throw new Error(`${row?.waiting} of ${count} wait`);
  }
}
