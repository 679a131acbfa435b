import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import pg from 'pg';
import { packageFile } from '../package-file.ts';
import { grantToApp } from './app-role.ts';

const DIR = fileURLToPath(packageFile('migrations'));
const TABLE = 'berth_migrations';

export type MigrateOptions = {
  /** Receives a line per migration. */
  log?: (line: string) => void;
  /** Where the migrations are, unless they are those of this version. */
  dir?: string;
  /** Also those that the version which runs now can't bear. */
  allowBreaking?: boolean;
  /** The role that the functions log in as, if it is to be there and to have its rights afterwards. */
  appUser?: string | undefined;
  ssl?: pg.ClientConfig['ssl'];
  /** The most that a statement may take. */
  timeoutMs?: number;
};

/**
 * Applies every migration that the database doesn't have yet, in one transaction, under an advisory lock (a
 * second run waits for the first). Runs on `pg`: postgres.js doesn't survive a connection that dies inside a
 * transaction (porsager/postgres#1208).
 *
 * @param databaseUrl postgres://… of a role that owns the tables
 * @returns the names of those applied now
 * @throws MigrationRefused; what Postgres says, 55P03 when a table isn't to be had for 10 s. Nothing is applied then
 */
export async function migrate(databaseUrl: string, options: MigrateOptions = {}): Promise<string[]> {
  const { ssl, timeoutMs = 0 } = options;
  // A client of our own: the runner's doesn't wait for its end, and nobody listens to its errors.
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 45_000,
    statement_timeout: timeoutMs,
    ...(ssl ? { ssl } : {}),
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return await migrateWith(client, options);
  } finally {
    // With the connection ends the lock.
    await client.end().catch(() => {});
  }
}

async function migrateWith(client: pg.Client, options: MigrateOptions): Promise<string[]> {
  const { log = () => {}, dir = DIR, allowBreaking = false, appUser } = options;
  await client.query('select pg_advisory_lock($1)', [PG_MIGRATE_LOCK_ID]);
  // A table that is in use for long: registrations would queue up behind the migration that waits for it.
  await client.query(`set lock_timeout = '10s'`);
  if (!allowBreaking) await refuseBreaking(client, dir);
  const applied = await runner({
    dbClient: client,
    dir,
    ignorePattern: '(\\..*|schema\\.sql|.*\\.md)',
    direction: 'up',
    migrationsTable: TABLE,
    noLock: true,
    singleTransaction: true,
    logger: { debug: () => {}, info: () => {}, warn: log, error: log },
  });
  for (const { name } of applied) log(`applied ${name}`);
  if (appUser) await grantToApp(client, appUser, log);
  return applied.map(({ name }) => name);
}

/** A migration that is breaking is to be applied, and nobody has allowed it. */
export class MigrationRefused extends Error {
  override name = 'MigrationRefused';
}

/** An empty database has nothing to break. */
async function refuseBreaking(client: pg.Client, dir: string): Promise<void> {
  const { rows } = await client.query(
    `select to_regclass('devices') is not null as "isUsed", to_regclass($1) is not null as "isMigrated"`,
    [TABLE],
  );
  if (!rows[0].isUsed) return;
  const applied = rows[0].isMigrated
    ? (await client.query(`select name from ${TABLE}`)).rows.map(({ name }) => name)
    : [];
  for (const file of readdirSync(dir).sort()) {
    const name = file.replace(/\.sql$/, '');
    if (name === file || applied.includes(name)) continue;
    const [, why] = /^-- breaking: (.+)/.exec(readFileSync(`${dir}/${file}`, 'utf8')) ?? [];
    if (!why) continue;
    throw new MigrationRefused(
      `Migration ${name} is breaking (${why}): nothing was applied. Allow it with allowBreakingMigrations=true at deployment, or npm run migrate -- --allow-breaking.`,
    );
  }
}

/**
 * Whether the deployment means the migrations that are here. When it rolls back it names those of the release before, and
 * might ask the new code: that must not fail a second time, which would leave the stack stuck.
 */
export function areMeant(hash: unknown): boolean {
  return hash === undefined || hash === migrationsHash();
}

/** SHA-256 in hex of the names and contents of all migrations, as infra/migrations-hash.cjs makes it for the deployment. */
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
