import { setTimeout as sleep } from 'node:timers/promises';
import { PG_MIGRATE_LOCK_ID } from 'node-pg-migrate';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { migrate } from '../../lib/database/migrate.ts';
import { counts, issueKey, newDevice, register, useBerth, withTrigger } from '../support/berth.ts';
import { startInstances, stopInstances } from '../support/instances.ts';
import { APP_ROLE } from '../support/postgres.ts';

const berth = useBerth();

/** A transaction that holds the row of a provisioning key. */
async function holdKey(id: string): Promise<pg.Client> {
  const holder = new pg.Client({ connectionString: berth.databaseUrl });
  await holder.connect();
  onTestFinished(() => holder.end());
  await holder.query('begin');
  await holder.query('select from provisioning_keys where id = $1 for update', [id]);
  return holder;
}

const running = () =>
  berth.sql(`select pid from pg_stat_activity
    where datname = current_database() and application_name = 'berth' and state = 'active'`);

describe('a statement of a function ends soon after its client has given up', () => {
  it('503: a row stays locked; nobody waits for it 2 s later, and nothing is registered when it is free', async () => {
    const { id, key } = await issueKey({ maxDevices: 100 });
    const holder = await holdKey(id);
    const instances = await startInstances(4);
    onTestFinished(() => stopInstances(instances));
    const before = await counts(berth);
    const answers = await Promise.all(instances.map(({ call }) => register(key, newDevice(), {}, call)));
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
    await sleep(2_000);
    expect(await running()).toEqual([]);
    await holder.query('commit');
    await sleep(500);
    const after = await counts(berth);
    expect([after.devices, after.used]).toEqual([before.devices, before.used]);
  });

  it('200: a row is locked for longer than a statement waits for a lock, but not longer than the request has', async () => {
    const { id, key } = await issueKey();
    const holder = await holdKey(id);
    const pending = register(key, newDevice());
    await sleep(3_000);
    await holder.query('commit');
    expect((await pending).status).toBe(200);
  });

  it('a statement that only computes ends within 2 s after its client has left', async () => {
    const { key } = await issueKey();
    await withTrigger(berth, 'before insert on devices', 'perform pg_sleep(20)', async () => {
      expect((await register(key, newDevice(), { remainingMs: 1_500 })).status).toBe(503);
      await sleep(2_000);
      expect(await running()).toEqual([]);
    });
  });
});

it('the limits are those of the role in this database, so that RDS Proxy need not pin connections', async () => {
  const [row] = await berth.sql(
    `select setconfig from pg_db_role_setting
     where setrole = $1::regrole and setdatabase = (select oid from pg_database where datname = current_database())`,
    [APP_ROLE],
  );
  expect(row?.setconfig).toEqual(['statement_timeout=6s', 'lock_timeout=2s', 'client_connection_check_interval=1s']);
});

it('migrations do not have the limits, even if their role has: a run waits until another one has ended', async () => {
  const url = new URL(berth.databaseUrl);
  url.searchParams.set('options', '-c statement_timeout=200 -c lock_timeout=100');
  const other = new pg.Client({ connectionString: berth.databaseUrl });
  await other.connect();
  onTestFinished(() => other.end());
  await other.query('select pg_advisory_lock($1)', [PG_MIGRATE_LOCK_ID]);
  const run = migrate(url.href);
  await sleep(500);
  await other.query('select pg_advisory_unlock_all()');
  expect(await run).toEqual([]);
});
