import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import { brokerConfigNotFound, brokerNeeded, nothingToUpdate, Problem } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { type Columns, columnsOf, type StoredBroker } from './columns.ts';
import { leftWithout } from './default-dependents.ts';
import type { BrokerInput } from './input.ts';
import { settled } from './retry-on-conflict.ts';
import { formatBroker, type OneRow, oneColumns } from './row.ts';

/** The row as it was looked at; `version` tells whether it has changed since. */
type Seen = StoredBroker & {
  version: string;
  is_default: boolean | null;
  /** Devices that nothing but it leads to a broker. */
  needed_by: number;
};

/**
 * Changes the fields that are given. Making a broker the default unsets the one before in the same statement.
 *
 * @param force also when devices are left without a broker
 * @throws Problem `nothing-to-update`, `broker-config-not-found`, `broker-name-taken`, `broker-needed`,
 *   `broker-changing` and those of {@link columnsOf}
 */
export async function updateBroker(ctx: Context, id: number, input: BrokerInput, force: boolean) {
  if (Object.values(input).every((value) => value === undefined)) throw new Problem(nothingToUpdate);
  const row = await settled(ctx, async () => {
    const [seen] = await query<Seen>(ctx, (sql) => seenStatement(sql, id));
    if (!seen) throw new Problem(brokerConfigNotFound);
    const columns = columnsOf(input, id, seen);
    if (!force) refuseIfNeeded(seen, columns);
    const [updated] = await query<OneRow>(ctx, (sql) => updateStatement(sql, id, seen.version, columns));
    return updated;
  });
  return { success: true, message: 'Broker configuration updated', data: formatBroker(row) };
}

function refuseIfNeeded(seen: Seen, columns: Columns): void {
  const withdrawn = columns.is_active === false || (seen.is_default && columns.is_default === false);
  if (!withdrawn || seen.needed_by === 0 || settings().mqttBrokerUrl) return;
  throw new Problem(brokerNeeded, undefined, { extra: { devices_count: String(seen.needed_by) } });
}

function seenStatement(sql: Sql, id: number) {
  return sql<Seen[]>`
    select protocol, username, password_sealed, client_cert, client_key, client_key_sealed, is_active, is_default,
           xmin::text as version,
           ${leftWithout(sql, id, sql`(select is_active, is_default from mqtt_broker_config where id = ${id}) broker`)} as needed_by
    from mqtt_broker_config where id = ${id}`;
}

/**
 * Locks the row if it is still the one that was looked at, and only then unsets the former default: else
 * there could be none. No row comes back when it has changed.
 */
function updateStatement(sql: Sql, id: number, version: string, { extra_config, ...columns }: Columns) {
  const utcNow = sql`now() at time zone 'utc'`;
  const values = {
    ...columns,
    ...(extra_config ? { extra_config: sql.json(extra_config as never) } : {}),
    updated_at: utcNow,
  };
  // A fragment of its own: postgres.js tells by the words before them what a list of values is for.
  const change = sql`update mqtt_broker_config b set ${sql(values as never)}`;
  return sql<OneRow[]>`
    with broker as (
      select id from mqtt_broker_config where id = ${id} and xmin::text = ${version} for update
    ), former as (
      update mqtt_broker_config set is_default = false, updated_at = ${utcNow}
      where ${columns.is_default === true} and is_default and id <> ${id} and exists (select from broker)
      returning id
    )
    ${change}
    -- Counted, so that the former default is unset before this row comes into the index.
    where b.id = (select id from broker) and (select count(*) from former) >= 0
    returning ${oneColumns(sql)}`;
}
