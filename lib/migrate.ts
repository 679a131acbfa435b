import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';

const DIR = fileURLToPath(new URL('../migrations', import.meta.url));

/**
 * Applies every migration that the database doesn't have yet, in one transaction, under an advisory
 * lock (a second run waits for the first). Runs on `pg`: postgres.js doesn't survive a connection
 * that dies inside a transaction (porsager/postgres#1208).
 *
 * @param databaseUrl postgres://… of a role that owns the tables
 * @param log receives a line per migration
 * @returns the names of those applied now
 */
export async function migrate(databaseUrl: string, log: (line: string) => void = () => {}): Promise<string[]> {
  const quiet = { debug: () => {}, info: () => {}, warn: log, error: log };
  // A client of our own: the runner's doesn't wait for its end, and nobody listens to its errors.
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => {});
  await client.connect();
  const applied = await runner({
    dbClient: client,
    dir: DIR,
    ignorePattern: '(\\..*|schema\\.sql|.*\\.md)',
    direction: 'up',
    migrationsTable: 'berth_migrations',
    advisoryLockMode: 'wait',
    logger: quiet,
  }).finally(() => client.end());
  for (const { name } of applied) log(`applied ${name}`);
  return applied.map(({ name }) => name);
}
