import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { migrate } from '../../lib/database/migrate.ts';
import { type Berth, startBerth } from '../support/berth.ts';

/** Migrations that build indexes while functions write. */
const FIRST_LINE = '-- outside a transaction: writes go on while the indexes of big tables are built\n';
const byName = 'create index concurrently if not exists devices_title_idx on devices (device_name);\n';
const byMac =
  'create unique index concurrently if not exists devices_mac_idx\n  on devices (mac_address) where mac_address is not null;\n';

let berth: Berth;
let dir: string;
beforeEach(async () => {
  berth = await startBerth();
  dir = mkdtempSync(path.join(tmpdir(), 'berth-migrations-'));
  cpSync(new URL('../../migrations', import.meta.url), dir, { recursive: true });
});
afterEach(async () => {
  await berth.stop();
  rmSync(dir, { recursive: true });
});

const write = (name: string, text: string) => writeFileSync(path.join(dir, `${name}.sql`), text);
const run = (options = {}) => migrate(berth.databaseUrl, { dir, ...options });
const applied = async () =>
  (await berth.sql(`select name from berth_migrations where name >= '0990' order by name`)).map(({ name }) => name);
const indexes = async () =>
  berth.sql(`select relname as name, indisvalid as valid from pg_index join pg_class on pg_class.oid = indexrelid
    where relname in ('devices_title_idx', 'devices_mac_idx') order by relname`);
const insert = (uuid: string, mac: string) =>
  berth.sql('insert into devices (uuid, mac_address) values ($1, $2)', [uuid, mac]);

/** A transaction that has written to devices and is still open: an index that is built concurrently waits for it. */
async function openTransaction(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: berth.databaseUrl });
  // The database is dropped before the test has ended.
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  await client.query('begin');
  await client.query(`insert into devices (uuid) values ('open')`);
  return client;
}

it('builds its indexes between the migrations before and after it', async () => {
  write('0990_before', 'create table before (id integer);\n');
  write('0991_indexes', FIRST_LINE + byName + byMac);
  write('0992_after', 'create table after (id integer);\n');
  expect(await run()).toEqual(['0990_before', '0991_indexes', '0992_after']);
  expect(await applied()).toEqual(['0990_before', '0991_indexes', '0992_after']);
  expect(await indexes()).toEqual([
    { name: 'devices_mac_idx', valid: true },
    { name: 'devices_title_idx', valid: true },
  ]);
  expect(await run()).toEqual([]);
});

it('writes go on while an index waits for an old transaction, and two runs end', async () => {
  write('0991_indexes', FIRST_LINE + byName);
  const client = await openTransaction();
  const runs = [run(), run()];
  await expect.poll(indexes).toEqual([{ name: 'devices_title_idx', valid: false }]);
  await insert('meanwhile', 'a');
  // Longer than deadlock_timeout.
  await sleep(1_500);
  await client.query('commit');
  expect((await Promise.all(runs)).sort()).toEqual([[], ['0991_indexes']]);
  expect(await indexes()).toEqual([{ name: 'devices_title_idx', valid: true }]);
});

it('the next run continues after a failure: it keeps the complete index and replaces the invalid one', async () => {
  write('0990_before', 'create table before (id integer);\n');
  write('0991_indexes', FIRST_LINE + byName + byMac);
  await insert('one', 'same');
  await insert('two', 'same');
  await expect(run()).rejects.toMatchObject({ code: '23505' });
  expect(await applied()).toEqual(['0990_before']);
  expect(await indexes()).toEqual([
    { name: 'devices_mac_idx', valid: false },
    { name: 'devices_title_idx', valid: true },
  ]);
  const [kept] = await berth.sql(`select 'devices_title_idx'::regclass::oid::integer as oid`);
  await berth.sql(`delete from devices where uuid = 'two'`);
  expect(await run()).toEqual(['0991_indexes']);
  expect(await indexes()).toMatchObject([{ valid: true }, { valid: true }]);
  expect(await berth.sql(`select 'devices_title_idx'::regclass::oid::integer as oid`)).toEqual([kept]);
});

it('the next run continues after the time of a deployment was up', async () => {
  write('0991_indexes', FIRST_LINE + byName);
  const client = await openTransaction();
  await expect(run({ timeoutMs: 1_000 })).rejects.toMatchObject({ code: '57014' });
  expect(await indexes()).toEqual([{ name: 'devices_title_idx', valid: false }]);
  await client.query('commit');
  expect(await run()).toEqual(['0991_indexes']);
  expect(await indexes()).toEqual([{ name: 'devices_title_idx', valid: true }]);
});

it('does not touch an index that somebody else is building', async () => {
  write('0991_indexes', FIRST_LINE + byName);
  const client = await openTransaction();
  const byHand = berth.sql(byName);
  await expect.poll(indexes).toEqual([{ name: 'devices_title_idx', valid: false }]);
  await expect(run()).rejects.toThrow('Index devices_title_idx is being built');
  await client.query('commit');
  await byHand;
  expect(await run()).toEqual(['0991_indexes']);
});

it('refuses any other statement, because nothing would roll it back', async () => {
  write('0991_indexes', `${FIRST_LINE}${byName}update devices set device_name = uuid;\n`);
  await expect(run()).rejects.toThrow('may only create indexes concurrently: update devices');
  expect(await applied()).toEqual([]);
});
