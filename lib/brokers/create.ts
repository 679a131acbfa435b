import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import { recordOperatorEvents } from '../events/record.ts';
import { type Columns, columnsOf, NEW_BROKER } from './columns.ts';
import { type BrokerChange, countAffected, totalOf } from './count-affected.ts';
import type { BrokerInput } from './input.ts';
import { formerDefaultEvent, recordedBroker } from './record.ts';
import { retryOnConflict } from './retry-on-conflict.ts';
import { brokerTag, formatBroker, type OneRow, oneColumns } from './row.ts';

/**
 * Adds a broker. If it becomes the default, the same statement unsets the former default.
 * @returns the broker with its entity tag, and how many devices resolve to it instead of another one; null: they could not be counted in time
 * @throws Problem `broker-name-taken`, `broker-changing` and those of {@link columnsOf}
 */
export async function createBroker(ctx: Context, input: BrokerInput) {
  // Drawn first, because sealed values are bound to the id of the row. A failed request loses an id.
  const [drawn] = await query<{ id: number }>(
    ctx,
    (sql) => sql`select nextval(pg_get_serial_sequence('mqtt_broker_config', 'id'))::integer as id`,
  );
  const { id } = drawn as { id: number };
  const columns = columnsOf({ ...input, protocol: input.protocol ?? 'mqtt' }, id, NEW_BROKER);
  const becomesDefault: BrokerChange = {
    id,
    isActive: true,
    default: 'begins',
    concernsItsDevices: false,
    endsFormer: false,
  };
  const affected = columns.is_default ? totalOf(await countAffected(ctx, becomesDefault)) : 0;
  const row = await retryOnConflict(ctx, async () => {
    const [inserted] = await query<OneRow & { tag: string }>(ctx, (sql) => insertStatement(sql, ctx, id, columns));
    return inserted;
  });
  const { tag, ...data } = row;
  const message = 'Broker configuration created';
  return { body: { success: true, message, data: formatBroker(data), devices_affected: affected }, tag };
}

function insertStatement(sql: Sql, ctx: Context, id: number, { extra_config, is_default, ...columns }: Columns) {
  const values = {
    id,
    ...columns,
    ...(extra_config ? { extra_config: sql.json(extra_config as never) } : {}),
    // Reads former_unset, so that the two defaults are never in the unique index together.
    is_default: is_default ? sql`(select done from former_unset)` : false,
    created_at: sql`berth_now()`,
    updated_at: sql`berth_now()`,
  };
  return sql<(OneRow & { tag: string })[]>`
    with former as (
      update mqtt_broker_config set is_default = false, updated_at = berth_now()
      where ${is_default === true} and is_default and id <> ${id}
      returning *
    ), former_unset as (
      select count(*) >= 0 as done from former
    ), broker as (
      insert into mqtt_broker_config ${sql(values as never)}
      on conflict (id) do update set id = excluded.id
      -- xmax is 0 in a row that is inserted, not updated: this is no repetition after a lost reply.
      returning *, xmax::text = '0' as is_new, ${brokerTag(sql, sql`mqtt_broker_config`)} as tag
    ), event as (
      ${recordOperatorEvents(
        sql,
        ctx,
        'broker',
        sql`
          select 'broker-created' as type, b.id, b.name, null as reason, null::jsonb as before, ${recordedBroker(sql)} as after
          from broker b where b.is_new
          union all
          ${formerDefaultEvent(sql)}`,
      )}
    )
    select ${oneColumns(sql)}, b.tag from broker b`;
}
