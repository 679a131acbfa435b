import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import type { listBrokersQuery } from './input.ts';
import { listedColumns } from './row.ts';

/**
 * A page of brokers, the default first, then by name.
 *
 * @param after the name of the last broker of the previous page; empty when that was the default
 * @returns the page, and `after` of the next one when there are more
 */
export async function listBrokers(ctx: Context, { limit = 1000, after }: z.output<typeof listBrokersQuery>) {
  const rows = await query<{ name: string; is_default: boolean | null }>(
    ctx,
    (sql) => sql`
      select ${listedColumns(sql)} from mqtt_broker_config b
      where ${after === undefined ? sql`true` : sql`b.is_default is not true and b.name > ${after}`}
      order by (b.is_default is true) desc, b.name
      limit ${limit + 1}`,
  );
  const data = rows.slice(0, limit);
  const last = rows.length > limit ? data.at(-1) : undefined;
  return { success: true, data, count: data.length, nextAfter: last?.is_default ? '' : last?.name };
}
