import { readFileSync, writeFileSync } from 'node:fs';
import type pg from 'pg';
import { legacyColumns } from './legacy-columns.ts';
import { UserError } from './user-error.ts';

/** Of one table: its rows by their ids (a list where they don't count up), and per column a hash over all rows. */
type Print = { ids: { upTo: string } | { list: string[] }; rows: number; columns: Record<string, string> };
type Prints = Record<string, Print>;
type Findings = { lines: string[]; isWell: boolean };

/** Writes how many rows each legacy table has, and a hash of every legacy column, to `file`. Only reads the database. */
export async function takeFingerprint(client: pg.Client, file: string): Promise<Findings> {
  const prints: Prints = {};
  for (const [table, columns] of legacyColumns()) {
    const ids = await idsOf(client, table);
    prints[table] = { ids, ...(await printOf(client, table, columns, ids)) };
  }
  writeFileSync(file, `${JSON.stringify(prints, null, 2)}\n`);
  const lines = Object.entries(prints).map(
    ([table, { rows, columns }]) => `${table}: ${rows} rows, ${Object.keys(columns).length} columns`,
  );
  return { lines, isWell: true };
}

/**
 * Compares what is there now with what {@link takeFingerprint} wrote, on the same server. Rows that have come since
 * are left out, so that it can be told on a database in use what has become of those that were there.
 *
 * @returns `isWell`: every row is there, with every value as it was
 */
export async function compareFingerprint(client: pg.Client, file: string): Promise<Findings> {
  const lines: string[] = [];
  let isWell = true;
  for (const [table, before] of Object.entries(readPrints(file))) {
    const now = await printOf(client, table, Object.keys(before.columns), before.ids);
    const differing = Object.keys(before.columns).filter((column) => now.columns[column] !== before.columns[column]);
    const lost = before.rows - now.rows;
    if (lost !== 0) lines.push(`${table}: ${lost} of ${before.rows} rows are gone`);
    else if (differing.length > 0) lines.push(`${table}: ${now.rows} rows, changed: ${differing.join(', ')}`);
    else lines.push(`${table}: ${now.rows} rows, ${Object.keys(before.columns).length} columns, all as before`);
    isWell &&= lost === 0 && differing.length === 0;
  }
  return { lines, isWell };
}

function readPrints(file: string): Prints {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Prints;
  } catch (error) {
    throw new UserError(
      `${file} can't be read (${(error as Error).message}): \`npm run adoption -- fingerprint\` makes it.`,
    );
  }
}

async function idsOf(client: pg.Client, table: string): Promise<Print['ids']> {
  const { rows } = await client.query(
    `select data_type from information_schema.columns
     where table_schema = current_schema() and table_name = $1 and column_name = 'id'`,
    [table],
  );
  if (!rows[0])
    throw new UserError(`There is no table ${table} here: \`npm run adoption -- look\` says what is missing.`);
  if (rows[0].data_type !== 'uuid') {
    const max = await client.query(`select coalesce(max(id), 0)::text as id from ${table}`);
    return { upTo: max.rows[0].id };
  }
  const list = await client.query(`select id::text from ${table} order by id`);
  return { list: list.rows.map(({ id }) => id) };
}

/** The sum of the rows' hashes, each with its id in it: the rows' order does not matter, whose value it is does. */
async function printOf(client: pg.Client, table: string, columns: string[], ids: Print['ids']) {
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
