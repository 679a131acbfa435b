import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import pg from 'pg';
import { packageFile } from '../package-file.ts';
import { grantToApp } from './app-role.ts';
import { buildIndexes, buildsIndexes } from './build-indexes.ts';
import { fillHanded } from './fill-handed.ts';
import { grantToMqttAuth } from './mqtt-auth-role.ts';

const DIR = fileURLToPath(packageFile('migrations'));
const TABLE = 'berth_migrations';
/** What remains of a limited time after the filling in, so that the run ends as a success. */
const RESERVE_MS = 15_000;
/** How often a run asks whether another one has ended. */
const LOCK_PAUSE_MS = 250;

export type MigrateOptions = {
  /** Receives a line per migration. */
  log?: (line: string) => void;
  /** The directory of the migrations. Default: those of this version. */
  dir?: string;
  /** Also apply migrations that break the version that runs now. */
  allowBreaking?: boolean;
  /** The role that the functions log in as: create it and grant its rights. */
  appUser?: string | undefined;
  /** The role that `mqtt-auth` logs in as: create it and grant its rights. */
  mqttAuthUser?: string | undefined;
  ssl?: pg.ClientConfig['ssl'];
  /** The longest time that a statement may take. Default: no limit. */
  timeoutMs?: number;
};

/**
 * Applies every migration that the database does not have yet, in one transaction, under an advisory lock: a
 * second run waits for the first. A migration that builds indexes ({@link buildIndexes}) is applied outside: what comes before
 * it is a transaction of its own, and so is what comes after it. Uses `pg`, because postgres.js does not survive a connection that dies inside a
 * transaction (porsager/postgres#1208).
 *
 * Then fills in what devices were handed ({@link fillHanded}).
 *
 * @param databaseUrl postgres://… of a role that owns the tables
 * @returns the names of the migrations applied now
 * @throws MigrationRefused; the error of Postgres, such as 55P03 when a table stays locked for 10 s. Then nothing of its
 *   transaction is applied
 */
export async function migrate(databaseUrl: string, options: MigrateOptions = {}): Promise<string[]> {
  const { ssl } = options;
  // Our own client: the runner does not wait until its client has ended, and does not handle its errors.
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 45_000,
    ...(ssl ? { ssl } : {}),
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return await migrateWith(client, options);
  } finally {
    // The end of the connection releases the lock.
    await client.end().catch(() => {});
  }
}

async function migrateWith(client: pg.Client, options: MigrateOptions): Promise<string[]> {
  const started = Date.now();
  const { log = () => {}, dir = DIR, allowBreaking = false, appUser, mqttAuthUser, timeoutMs = 0 } = options;
  // The role may have the limits of the functions' role. Those are too short for a migration.
  await client.query(`set statement_timeout = ${Math.floor(timeoutMs)}`);
  await takeLock(client, timeoutMs > 0 ? started + timeoutMs : Infinity);
  const due = await dueIn(client, dir);
  if (!allowBreaking) await refuseBreaking(client, due);
  for (const part of partsOf(due)) {
    await applyPart(client, dir, part, log);
    for (const { name } of part) log(`applied ${name}`);
  }
  if (appUser) await grantToApp(client, appUser, log);
  if (mqttAuthUser) await grantToMqttAuth(client, mqttAuthUser, log);
  // The migrations are applied: a deployment must not be undone because of this.
  await fillHanded(client, timeoutMs > 0 ? started + timeoutMs - RESERVE_MS : Infinity, log).catch((error: Error) =>
    log(`what devices were handed is not filled in, the next run does it: ${error.message}`),
  );
  return due.map(({ name }) => name);
}

/**
 * Waits until no other run has the lock. It asks again and again: a statement that waits would be a transaction that an index
 * built by the other run waits for.
 */
async function takeLock(client: pg.Client, until: number): Promise<void> {
  for (;;) {
    const { rows } = await client.query('select pg_try_advisory_lock($1) as "isTaken"', [PG_MIGRATE_LOCK_ID]);
    if (rows[0].isTaken) return;
    if (Date.now() > until) throw new Error('Another run of the migrations has not ended.');
    await sleep(LOCK_PAUSE_MS);
  }
}

type Migration = { name: string; text: string };

/** The migrations that the database does not have, in their order. */
async function dueIn(client: pg.Client, dir: string): Promise<Migration[]> {
  const { rows } = await client.query('select to_regclass($1) is not null as "isMigrated"', [TABLE]);
  const applied = rows[0].isMigrated ? (await client.query(`select name from ${TABLE}`)).rows : [];
  const names = new Set(applied.map(({ name }) => `${name}.sql`));
  return readdirSync(dir)
    .filter((file) => /^\d.*\.sql$/.test(file) && !names.has(file))
    .sort()
    .map((file) => ({ name: file.replace(/\.sql$/, ''), text: readFileSync(`${dir}/${file}`, 'utf8') }));
}

/** Neighbours that share a transaction, and each migration that builds indexes by itself. */
function partsOf(due: Migration[]): Migration[][] {
  const parts: Migration[][] = [];
  for (const [i, migration] of due.entries()) {
    const before = due[i - 1];
    const isApart = !before || buildsIndexes(migration.text) || buildsIndexes(before.text);
    if (isApart) parts.push([migration]);
    else parts.at(-1)?.push(migration);
  }
  return parts;
}

async function applyPart(client: pg.Client, dir: string, part: Migration[], log: (line: string) => void) {
  const [first] = part;
  if (first && buildsIndexes(first.text)) {
    // It waits for old transactions, and nobody waits for it.
    await client.query('set lock_timeout = 0');
    await buildIndexes(client, first.text);
    await client.query(`insert into ${TABLE} (name, run_on) values ($1, now())`, [first.name]);
    return;
  }
  // While a migration waits for a table that is in use, registrations queue up behind it.
  await client.query(`set lock_timeout = '10s'`);
  await runner({
    dbClient: client,
    dir,
    ignorePattern: '(\\..*|schema\\.sql|.*\\.md)',
    direction: 'up',
    count: part.length,
    migrationsTable: TABLE,
    noLock: true,
    singleTransaction: true,
    logger: { debug: () => {}, info: () => {}, warn: log, error: log },
  });
}

/** A breaking migration would be applied, and nobody has allowed it. */
export class MigrationRefused extends Error {
  override name = 'MigrationRefused';
}

/** A database without devices' table has no version that could break. */
async function refuseBreaking(client: pg.Client, due: Migration[]): Promise<void> {
  const { rows } = await client.query(`select to_regclass('devices') is not null as "isUsed"`);
  if (!rows[0].isUsed) return;
  for (const { name, text } of due) {
    const [, why] = /^-- breaking: (.+)/.exec(text) ?? [];
    if (!why) continue;
    throw new MigrationRefused(
      `Migration ${name} is breaking (${why}): nothing was applied. Allow it with allowBreakingMigrations=true at deployment, or npm run migrate -- --allow-breaking.`,
    );
  }
}

/**
 * Whether the deployment names the migrations of this version. A rollback names those of the previous version, but may
 * call the new code. That must not fail again, because the stack would be stuck.
 */
export function isThisVersion(hash: unknown): boolean {
  return hash === undefined || hash === migrationsHash();
}

/** SHA-256 in hex of the names and contents of all migrations, as infra/migrations-hash.cjs computes it. */
function migrationsHash(): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(DIR).sort()) {
    if (/^\d.*\.sql$/.test(name))
      hash
        .update(`${name}\0`)
        .update(readFileSync(`${DIR}/${name}`))
        .update('\0');
  }
  return hash.digest('hex');
}
