import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { brokerConfigNotFound, Problem } from '../errors.ts';
import { formatBroker, type OneRow, oneColumns } from './row.ts';

/**
 * One broker with its certificates. Of the password and the private key it says only whether they are stored.
 * @throws Problem `broker-config-not-found`
 */
export async function getBroker(ctx: Context, id: number) {
  const [row] = await query<OneRow>(
    ctx,
    (sql) => sql`select ${oneColumns(sql)} from mqtt_broker_config b where b.id = ${id}`,
  );
  if (!row) throw new Problem(brokerConfigNotFound);
  return { success: true, data: formatBroker(row) };
}
