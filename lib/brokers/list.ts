import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import type { listBrokersQuery } from './input.ts';
import { listedColumns } from './row.ts';

/**
 * A page of brokers, the default first, then by name.
 *
 * @param after the name of the last broker of the previous page; empty when that was the default
 * @returns the page, and `after` of the next one when there are more
 */
export async function listBrokers(ctx: Context, page: Query) {
  const rows = await query<Page>(
    ctx,
    (sql) => sql`
      select ${listedColumns(sql)} from ${brokerPage(sql, page)} b order by (b.is_default is true) desc, b.name`,
  );
  return pageOf(rows, page);
}

type Query = z.output<typeof listBrokersQuery>;
/** What {@link pageOf} needs of a row. */
export type Page = { name: string; is_default: boolean | null };
const PAGE_SIZE = 1000;

/** SQL for the rows of a page, and one more if another page follows. */
export function brokerPage(sql: Sql, { limit = PAGE_SIZE, after }: Query): Fragment {
  return sql`(
    select * from mqtt_broker_config b
    where ${after === undefined ? sql`true` : sql`b.is_default is not true and b.name > ${after}`}
    order by (b.is_default is true) desc, b.name
    limit ${limit + 1})`;
}

/** The page of {@link brokerPage}'s rows. `nextAfter`: the place of the next one, if there is one. */
export function pageOf(rows: Page[], { limit = PAGE_SIZE }: Query) {
  const data = rows.slice(0, limit);
  const last = rows.length > limit ? data.at(-1) : undefined;
  return { success: true, data, count: data.length, nextAfter: last?.is_default ? '' : last?.name };
}
