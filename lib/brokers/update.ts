import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import { brokerConfigNotFound, brokerNeeded, nothingToUpdate, Problem } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { type Columns, columnsOf, type StoredBroker } from './columns.ts';
import { leftWithout } from './default-dependents.ts';
import type { BrokerInput } from './input.ts';
import { retryOnConflict } from './retry-on-conflict.ts';
import { formatBroker, type OneRow, oneColumns } from './row.ts';

type Stored = StoredBroker & {
  id: number;
  /** Changes with every update of the row. */
  version: string;
  is_default: boolean | null;
  /** Devices that would be left without a broker. */
  needed_by: number;
};

/**
 * Changes the fields that the input contains. If the broker becomes the default, the same statement unsets the former
 * default.
 *
 * @param force also when devices are left without a broker
 * @throws Problem `nothing-to-update`, `broker-config-not-found`, `broker-name-taken`, `broker-needed`,
 *   `broker-changing` and those of {@link columnsOf}
 */
export async function updateBroker(ctx: Context, id: number, input: BrokerInput, force: boolean) {
  if (Object.values(input).every((value) => value === undefined)) throw new Problem(nothingToUpdate);
  const row = await retryOnConflict(ctx, async () => {
    const [stored] = await query<Stored>(ctx, (sql) => selectStatement(sql, id));
    if (!stored) throw new Problem(brokerConfigNotFound);
    const columns = columnsOf(input, id, stored);
    if (!force) refuseIfNeeded(stored, columns);
    const [updated] = await query<OneRow>(ctx, (sql) => updateStatement(sql, stored, columns));
    return updated;
  });
  return { success: true, message: 'Broker configuration updated', data: formatBroker(row) };
}

function refuseIfNeeded({ is_default, needed_by }: Stored, columns: Columns): void {
  const isWithdrawn = columns.is_active === false || (is_default && columns.is_default === false);
  if (!isWithdrawn || needed_by === 0 || settings().mqttBrokerUrl) return;
  throw new Problem(brokerNeeded, undefined, { extra: { devices_count: String(needed_by) } });
}

function selectStatement(sql: Sql, id: number) {
  return sql<Stored[]>`
    select id, protocol, host, port, ca_cert, verify_certificate, username, password_sealed, client_cert, client_key, client_key_sealed, is_active, is_default,
           xmin::text as version,
           ${leftWithout(sql, id, sql`(select is_active, is_default from mqtt_broker_config where id = ${id}) broker`)} as needed_by
    from mqtt_broker_config where id = ${id}`;
}

/** Returns no row, and changes nothing, when the row has changed since it was read. */
function updateStatement(sql: Sql, { id, version }: Stored, { extra_config, ...columns }: Columns) {
  const values = {
    ...columns,
    ...(extra_config ? { extra_config: sql.json(extra_config as never) } : {}),
    updated_at: sql`berth_now()`,
  };
  // A fragment, because postgres.js reads in the preceding SQL text which kind of list to write.
  const change = sql`update mqtt_broker_config b set ${sql(values as never)}`;
  return sql<OneRow[]>`
    with unchanged as (
      select id from mqtt_broker_config where id = ${id} and xmin::text = ${version} for update
    ), former as (
      update mqtt_broker_config set is_default = false, updated_at = berth_now()
      where ${columns.is_default === true} and is_default and id <> ${id} and exists (select from unchanged)
      returning id
    ), former_unset as (
      select count(*) >= 0 as done from former
    )
    ${change}
    from unchanged, former_unset
    where b.id = unchanged.id and former_unset.done
    returning ${oneColumns(sql)}`;
}
