import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { listedColumns } from './row.ts';

/** All brokers, the default first, then by name. */
export async function listBrokers(ctx: Context) {
  const data = await query(
    ctx,
    (sql) => sql`
      select ${listedColumns(sql)} from mqtt_broker_config b
      order by b.is_default desc nulls last, b.name, b.id`,
  );
  return { success: true, data, count: data.length };
}
