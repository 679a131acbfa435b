import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import type { Lease } from '../database/leases.ts';
import { brokerConfigNotFound, brokerHasDevices, brokerNeeded, nothingToUpdate, Problem } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { type Columns, columnsOf, type StoredBroker } from './columns.ts';
import { type Affected, affectedMembers, type BrokerChange, countAffected, totalOf } from './count-affected.ts';
import { leftWithout } from './default-dependents.ts';
import type { BrokerInput } from './input.ts';
import { retryOnConflict } from './retry-on-conflict.ts';
import { formatBroker, type OneRow, oneColumns } from './row.ts';
import { lockOf, withdrawAlone } from './withdrawal.ts';

type Stored = StoredBroker & {
  id: number;
  /** Changes with every update of the row. */
  version: string;
  is_default: boolean | null;
  accepts_new_devices: boolean;
} & Record<(typeof SETTINGS)[number], unknown>;

/** What devices get of a broker, beside what {@link StoredBroker} has. Together: what its settings_hash is made from. */
const SETTINGS = [
  ...(['protocol', 'host', 'port', 'use_tls', 'verify_certificate', 'client_id_prefix', 'keep_alive'] as const),
  ...(['clean_session', 'reconnect_period', 'connect_timeout', 'ca_cert'] as const),
];

/** `id` is null when the row was not updated. `needed_by`: devices that would be left without a broker. */
type Outcome = { id: number | null; needed_by: number };

/**
 * Changes the fields that the input contains. If the broker becomes the default, the same statement unsets the former
 * default.
 *
 * `close_former` is one row: the view mqtt_device_brokers compares its time with the times of the devices.
 *
 * @param force also when devices are left without a broker, and when an inactive broker loses devices
 * @returns the broker, and how many devices the change affects; null: they could not be counted in time
 * @throws Problem `nothing-to-update`, `broker-config-not-found`, `broker-name-taken`, `broker-needed`, `broker-has-devices`,
 *   `broker-changing` and those of {@link columnsOf}
 */
export async function updateBroker(ctx: Context, id: number, input: BrokerInput, force: boolean) {
  if (Object.values(input).every((value) => value === undefined)) throw new Problem(nothingToUpdate);
  const mayLeaveDevicesWithout = force || settings().mqttBrokerUrl !== undefined;
  const { row, affected } = await retryOnConflict(ctx, async () => {
    const [stored] = await query<Stored>(ctx, (sql) => selectStatement(sql, id));
    if (!stored) throw new Problem(brokerConfigNotFound);
    const columns = columnsOf(input, id, stored);
    const closes = input.close_former === true;
    const loses = columns.is_active === false && !force;
    const change = changeOf(stored, columns, closes);
    const affected = change ? await countAffected(ctx, change, loses) : NOBODY;
    if (loses && affected) requireUnused(affected, mayLeaveDevicesWithout);
    const run = (lease?: Lease) => runUpdate(ctx, stored, columns, closes, lease);
    const row = await (isWithdrawn(stored, columns) && !mayLeaveDevicesWithout ? withdrawAlone(ctx, run) : run());
    return row && { row, affected };
  });
  const message = 'Broker configuration updated';
  return { success: true, message, data: formatBroker(row), devices_affected: totalOf(affected) };
}

const NOBODY: Affected = { resolved: 0, former: 0, left_without: 0 };

/** @returns undefined when the change affects no device, whatever devices there are */
function changeOf(stored: Stored, columns: Columns, endsFormer: boolean): BrokerChange | undefined {
  const isActive = (columns.is_active ?? stored.is_active) === true;
  const { is_default } = columns;
  const change: BrokerChange = {
    id: stored.id,
    isActive,
    default:
      is_default === true && !stored.is_default
        ? 'begins'
        : is_default === false && stored.is_default
          ? 'ends'
          : 'stays',
    concernsItsDevices:
      (stored.accepts_new_devices && columns.accepts_new_devices === false) ||
      SETTINGS.some((name) => columns[name] !== undefined && columns[name] !== stored[name]),
    endsFormer: endsFormer || (stored.is_active === true && !isActive),
  };
  const affects = isActive !== stored.is_active || change.default !== 'stays' || change.concernsItsDevices;
  return (affects && (isActive || stored.is_active)) || endsFormer ? change : undefined;
}

/** An inactive broker serves nobody. */
function requireUnused(affected: Affected, mayLeaveDevicesWithout: boolean): void {
  const { resolved, former, left_without } = affected;
  if (left_without > 0 && !mayLeaveDevicesWithout) {
    throw new Problem(brokerNeeded, undefined, { extra: affectedMembers(left_without) });
  }
  if (resolved + former === 0) return;
  const detail = `Devices that resolve to it: ${resolved}. Others that may still use it, because they have not followed a move: ${former}. Move them and let them follow, or repeat with ?force=true.`;
  throw new Problem(brokerHasDevices, detail, {
    extra: { ...affectedMembers(resolved + former), devices_resolved: resolved, devices_former: former },
  });
}

function isWithdrawn({ is_active, is_default }: Stored, columns: Columns): boolean {
  return Boolean((is_active && columns.is_active === false) || (is_default && columns.is_default === false));
}

/** @returns undefined when the row has changed since it was read, or the lease is lost */
async function runUpdate(
  ctx: Context,
  stored: Stored,
  columns: Columns,
  closes: boolean,
  lease?: Lease,
): Promise<OneRow | undefined> {
  const [outcome] = await query<Outcome>(ctx, (sql) => updateStatement(sql, stored, columns, closes, lease));
  if (!outcome) return undefined;
  const { needed_by, ...row } = outcome;
  if (needed_by > 0) throw new Problem(brokerNeeded, undefined, { extra: affectedMembers(needed_by) });
  return row as OneRow;
}

function selectStatement(sql: Sql, id: number) {
  return sql<Stored[]>`
    select id, protocol, host, port, ca_cert, verify_certificate, username, password_sealed, client_cert, client_key,
           client_key_sealed, is_active, is_default, accepts_new_devices, use_tls, client_id_prefix, keep_alive, clean_session,
           reconnect_period, connect_timeout, xmin::text as version
    from mqtt_broker_config where id = ${id}`;
}

/**
 * Returns no row, and changes nothing, when the row has changed since it was read or the lease is lost.
 * @param lease of a withdrawal: then devices that need the broker are counted, and prevent it
 */
function updateStatement(
  sql: Sql,
  { id, version, is_default }: Stored,
  { extra_config, ...columns }: Columns,
  closes: boolean,
  lease: Lease | undefined,
) {
  const takesOver = columns.is_default === true && !is_default;
  const values = {
    ...columns,
    ...(extra_config ? { extra_config: sql.json(extra_config as never) } : {}),
    updated_at: sql`berth_now()`,
    ...(closes && !takesOver ? { closed_to_former_at: sql`now()` } : {}),
  };
  // A fragment, because postgres.js reads in the preceding SQL text which kind of list to write.
  const change = sql`update mqtt_broker_config b set ${sql(values as never)}`;
  return sql<Outcome[]>`
    with lock as materialized (
      ${lockOf(sql, lease)}
    ), unchanged as (
      select id, is_active, is_default from mqtt_broker_config
      where id = ${id} and xmin::text = ${version} and exists (select from lock) for update
    ), needed as (
      select ${lease ? leftWithout(sql, id, sql`unchanged`) : sql`0`} as needed_by
    ), allowed as (
      select unchanged.id, needed_by from unchanged, needed
    ), former as (
      update mqtt_broker_config set is_default = false, updated_at = berth_now(),
        closed_to_former_at = case when ${closes && takesOver} then now() else closed_to_former_at end
      where ${columns.is_default === true} and is_default and id <> ${id}
        and exists (select from allowed where needed_by = 0)
      returning id
    ), former_unset as (
      select count(*) >= 0 as done from former
    ), updated as (
      ${change}
      from allowed, former_unset
      where b.id = allowed.id and needed_by = 0 and former_unset.done
      returning ${oneColumns(sql)}
    )
    select updated.*, needed_by from allowed left join updated on true`;
}
