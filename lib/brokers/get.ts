import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { brokerConfigNotFound, Problem, preconditionFailed } from '../errors.ts';
import { brokerTag, formatBroker, type OneRow, oneColumns } from './row.ts';

/**
 * One broker with its certificates, and its entity tag. Of the password and the private key it says only whether they are stored.
 * @throws Problem `broker-config-not-found`
 */
export async function getBroker(ctx: Context, id: number) {
  const [found] = await query<OneRow & { tag: string }>(
    ctx,
    (sql) => sql`select ${oneColumns(sql)}, ${brokerTag(sql)} as tag from mqtt_broker_config b where b.id = ${id}`,
  );
  if (!found) throw new Problem(brokerConfigNotFound);
  const { tag, ...row } = found;
  return { body: { success: true, data: formatBroker(row) }, tag };
}

/**
 * Refuses a change of a broker that has changed since the caller read it.
 * @throws Problem `precondition-failed` with the broker as it is now; `broker-config-not-found`
 */
export async function refuseChangedBroker(ctx: Context, id: number): Promise<never> {
  const { body, tag } = await getBroker(ctx, id);
  throw new Problem(preconditionFailed, undefined, { extra: { etag: `"${tag}"`, current: body.data } });
}
