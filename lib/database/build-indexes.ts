import type pg from 'pg';

/** The first line of a migration that builds indexes of big tables. Writes go on meanwhile. */
const OUTSIDE = '-- outside a transaction';
const CREATE_INDEX = /^create (?:unique )?index concurrently if not exists (\w+) on [^;]+$/i;

/** Whether a migration builds its indexes concurrently, which Postgres does only outside a transaction. */
export function buildsIndexes(text: string): boolean {
  return text.startsWith(OUTSIDE);
}

/**
 * Builds the indexes of a migration, one after the other. A run that is interrupted leaves an invalid index behind, which the
 * next run replaces; it keeps the indexes that are complete.
 *
 * @param text of the migration: after its first line, only `create index concurrently if not exists …;`
 * @throws Error when there is another statement, or somebody else is building one of the indexes; the error of Postgres
 */
export async function buildIndexes(client: pg.Client, text: string): Promise<void> {
  for (const statement of statementsOf(text)) {
    const [, name] = CREATE_INDEX.exec(statement) ?? [];
    if (!name) throw new Error(`A migration outside a transaction may only create indexes concurrently: ${statement}`);
    await dropInvalid(client, name);
    await client.query(statement);
  }
}

function statementsOf(text: string): string[] {
  return text
    .replace(/--.*$/gm, '')
    .split(';')
    .map((statement) => statement.replace(/\s+/g, ' ').trim())
    .filter(Boolean);
}

/** `if not exists` would find it. An index that is being built is invalid, too. */
async function dropInvalid(client: pg.Client, name: string): Promise<void> {
  const { rows } = await client.query(
    `select exists (select from pg_stat_progress_create_index where index_relid = indexrelid) as "isBeingBuilt"
     from pg_index where indexrelid = to_regclass($1) and not indisvalid`,
    [name],
  );
  if (rows[0]?.isBeingBuilt) throw new Error(`Index ${name} is being built: migrate again when it is complete.`);
  if (rows[0]) await client.query(`drop index concurrently if exists ${name}`);
}
