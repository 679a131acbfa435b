import { readFileSync } from 'node:fs';

const MIGRATION = new URL('../migrations/0001_legacy-tables.sql', import.meta.url);

/** The legacy tables and the columns that Berth uses, as the first migration names them. */
export function legacyColumns(): Map<string, string[]> {
  const tables = readFileSync(MIGRATION, 'utf8').matchAll(/create table if not exists (\w+) \((.*?)\n\);/gs);
  return new Map(
    [...tables].map(([, table, body]) => [
      table as string,
      [...(body as string).matchAll(/^ {2}(?!constraint )(\w+) /gm)].map(([, column]) => column as string),
    ]),
  );
}
