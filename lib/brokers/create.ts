import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import { type Columns, columnsOf } from './columns.ts';
import type { BrokerInput } from './input.ts';
import { settled } from './retry-on-conflict.ts';
import { formatBroker, type OneRow, oneColumns } from './row.ts';

/**
 * Adds a broker. As the default it takes the place of the one before, in the same statement.
 * @throws Problem `broker-name-taken` and those of {@link columnsOf}
 */
export async function createBroker(ctx: Context, input: BrokerInput) {
  // Sealed values are bound to the row's id, so it is drawn first; an id that comes to nothing is no loss.
  const [drawn] = await query<{ id: number }>(
    ctx,
    (sql) => sql`select nextval(pg_get_serial_sequence('mqtt_broker_config', 'id'))::integer as id`,
  );
  const { id } = drawn as { id: number };
  const columns = columnsOf(input, id);
  const row = await settled(ctx, async () => {
    const [inserted] = await query<OneRow>(ctx, (sql) => insertStatement(sql, id, columns));
    return inserted;
  });
  return { success: true, message: 'Broker configuration created', data: formatBroker(row) };
}

function insertStatement(sql: Sql, id: number, { extra_config, is_default, ...columns }: Columns) {
  const utcNow = sql`now() at time zone 'utc'`;
  const values = {
    id,
    ...columns,
    ...(extra_config ? { extra_config: sql.json(extra_config as never) } : {}),
    // Counted, so that the former default is unset before this row comes into the index.
    is_default: is_default ? sql`(select count(*) >= 0 from former)` : false,
    created_at: utcNow,
    updated_at: utcNow,
  };
  // A fragment of its own: postgres.js tells by the words before them what a list of values is for.
  const insert = sql`insert into mqtt_broker_config ${sql(values as never)}`;
  return sql<OneRow[]>`
    with former as (
      update mqtt_broker_config set is_default = false, updated_at = ${utcNow}
      where ${is_default === true} and is_default and id <> ${id}
      returning id
    ), broker as (
      ${insert}
      on conflict (id) do update set id = excluded.id
      returning *
    )
    select ${oneColumns(sql)} from broker b`;
}
