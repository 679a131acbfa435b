import { readFileSync, writeFileSync } from 'node:fs';
import type pg from 'pg';
import type { Report } from './adoption-report.ts';
import { legacyColumns } from './legacy-columns.ts';
import { UserError } from './user-error.ts';

/** One table: the ids of its rows (a list if they are not ascending numbers), and a hash of each column over all rows. */
type Fingerprint = { ids: { upTo: string } | { list: string[] }; rows: number; columns: Record<string, string> };
type Fingerprints = Record<string, Fingerprint>;

/** Writes the row count of each legacy table and a hash of every legacy column to `file`. Only reads the database. */
export async function takeFingerprint(client: pg.Client, file: string): Promise<Report> {
  const fingerprints: Fingerprints = {};
  for (const [table, columns] of legacyColumns()) {
    const ids = await idsOf(client, table);
    fingerprints[table] = { ids, ...(await fingerprintOf(client, table, columns, ids)) };
  }
  writeFileSync(file, `${JSON.stringify(fingerprints, null, 2)}\n`);
  const lines = Object.entries(fingerprints).map(
    ([table, { rows, columns }]) => `${table}: ${rows} rows, ${Object.keys(columns).length} columns`,
  );
  return { lines, isOk: true };
}

/**
 * Compares the database with what {@link takeFingerprint} wrote, on the same server. Newer rows are ignored, so that this
 * works on a database in use.
 *
 * @returns `isOk`: no row is missing and no value has changed
 */
export async function compareFingerprint(client: pg.Client, file: string): Promise<Report> {
  const lines: string[] = [];
  let isOk = true;
  for (const [table, before] of Object.entries(readFingerprints(file))) {
    const now = await fingerprintOf(client, table, Object.keys(before.columns), before.ids);
    const differing = Object.keys(before.columns).filter((column) => now.columns[column] !== before.columns[column]);
    const lost = before.rows - now.rows;
    if (lost !== 0) lines.push(`${table}: ${lost} of ${before.rows} rows are gone`);
    else if (differing.length > 0) lines.push(`${table}: ${now.rows} rows, changed: ${differing.join(', ')}`);
    else lines.push(`${table}: ${now.rows} rows, ${Object.keys(before.columns).length} columns, all as before`);
    isOk &&= lost === 0 && differing.length === 0;
  }
  return { lines, isOk };
}

function readFingerprints(file: string): Fingerprints {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Fingerprints;
  } catch (error) {
    throw new UserError(
      `Cannot read ${file} (${(error as Error).message}): \`npm run adoption -- fingerprint\` creates it.`,
    );
  }
}

async function idsOf(client: pg.Client, table: string): Promise<Fingerprint['ids']> {
  const { rows } = await client.query(
    `select data_type from information_schema.columns
     where table_schema = current_schema() and table_name = $1 and column_name = 'id'`,
    [table],
  );
  if (!rows[0]) throw new UserError(`There is no table ${table}: \`npm run adoption -- look\` says what is missing.`);
  if (rows[0].data_type !== 'uuid') {
    const max = await client.query(`select coalesce(max(id), 0)::text as id from ${table}`);
    return { upTo: max.rows[0].id };
  }
  const list = await client.query(`select id::text from ${table} order by id`);
  return { list: list.rows.map(({ id }) => id) };
}

/** Sums hashes of id and value: the order of the rows does not matter, but swapped values do. */
async function fingerprintOf(client: pg.Client, table: string, columns: string[], ids: Fingerprint['ids']) {
  const sums = columns.map(
    (column) =>
      `sum(hashtextextended(id || '=' || coalesce('"' || ${column}::text || '"', 'null'), 0))::text as ${column}`,
  );
  const [where, value] = 'list' in ids ? ['id = any($1::uuid[])', ids.list] : ['id <= $1', ids.upTo];
  const { rows } = await client.query(
    `select count(*)::integer as "rows", ${sums.join(', ')} from ${table} where ${where}`,
    [value],
  );
  const { rows: count, ...hashes } = rows[0];
  return { rows: count as number, columns: hashes as Record<string, string> };
}
