import type { Fragment, Sql } from './db.ts';

/** SQL for a text array. No value may contain a comma. postgres.js sends arrays itself only after fetching the types. */
export function textArray(sql: Sql, values: readonly string[]): Fragment {
  return sql`string_to_array(${values.join(',')}, ',')`;
}
