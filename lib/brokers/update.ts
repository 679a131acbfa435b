import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import type { Lease } from '../database/leases.ts';
import { brokerConfigNotFound, brokerHasDevices, brokerNeeded, nothingToUpdate, Problem } from '../errors.ts';
import { isChangeRepeated, recordOperatorEvents } from '../events/record.ts';
import { settings } from '../settings/settings.ts';
import { type Columns, columnsOf, type StoredBroker } from './columns.ts';
import { type Affected, affectedMembers, type BrokerChange, countAffected, totalOf } from './count-affected.ts';
import { leftWithout } from './default-dependents.ts';
import { getBroker, refuseChangedBroker } from './get.ts';
import type { BrokerInput } from './input.ts';
import { formerDefaultEvent, recordedBroker } from './record.ts';
import { retryOnConflict } from './retry-on-conflict.ts';
import { brokerTag, formatBroker, type OneRow, oneColumns } from './row.ts';
import { lockOf, withdrawAlone } from './withdrawal.ts';

type Stored = StoredBroker & {
  id: number;
  /** The entity tag. */
  tag: string;
  /** Whether an earlier attempt of this request was committed, and only its reply was lost. */
  is_repeated: boolean;
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

type Changed = OneRow & { tag: string };
/** `id` is null when the row was not updated. `needed_by`: devices that would be left without a broker. */
type Outcome = { id: number | null; needed_by: number };

/**
 * Changes the fields that the input contains. If the broker becomes the default, the same statement unsets the former
 * default.
 *
 * `close_former` is one row: the view mqtt_device_brokers compares its time with the times of the devices.
 *
 * @param force also when devices are left without a broker, and when an inactive broker loses devices
 * @param tags the entity tags of If-Match without quotes; undefined: whatever the broker is now
 * @returns the broker with its new tag, and how many devices the change affects; null: they could not be counted in time
 * @throws Problem `nothing-to-update`, `broker-config-not-found`, `precondition-failed`, `broker-name-taken`, `broker-needed`,
 *   `broker-has-devices`, `broker-changing` and those of {@link columnsOf}
 */
export async function updateBroker(ctx: Context, id: number, input: BrokerInput, force: boolean, tags?: string[]) {
  if (Object.values(input).every((value) => value === undefined)) throw new Problem(nothingToUpdate);
  const mayLeaveDevicesWithout = force || settings().mqttBrokerUrl !== undefined;
  let failure: unknown;
  const { tag, ...changed } = await retryOnConflict(ctx, async () => {
    const [stored] = await query<Stored>(ctx, (sql) => selectStatement(sql, ctx, id, failure));
    if (!stored) throw new Problem(brokerConfigNotFound);
    if (stored.is_repeated) return changedBefore(ctx, id);
    if (tags && !tags.includes(stored.tag)) return refuseChangedBroker(ctx, id);
    const columns = columnsOf(input, id, stored);
    const closes = input.close_former === true;
    const loses = columns.is_active === false && !force;
    const change = changeOf(stored, columns, closes);
    const affected = change ? await countAffected(ctx, change, loses) : NOBODY;
    if (loses && affected) requireUnused(affected, mayLeaveDevicesWithout);
    const run = (lease?: Lease) => {
      const onRepeat = (error: unknown) => {
        failure = error;
      };
      return runUpdate(ctx, stored, columns, { closes, lease, onRepeat });
    };
    const row = await (isWithdrawn(stored, columns) && !mayLeaveDevicesWithout ? withdrawAlone(ctx, run) : run());
    return row && { ...row, devices_affected: totalOf(affected) };
  });
  return { body: { success: true, message: 'Broker configuration updated', ...changed }, tag };
}

/** The reply of a request that is repeated after a lost reply. How many devices the earlier attempt affected is not known. */
async function changedBefore(ctx: Context, id: number) {
  const { body, tag } = await getBroker(ctx, id);
  return { data: body.data, tag, devices_affected: null };
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

type Options = {
  /** Whether the broker is closed to its former devices. */
  closes: boolean;
  /** Of a withdrawal: then devices that need the broker are counted, and prevent it. */
  lease: Lease | undefined;
  /** Receives why an earlier attempt of the statement failed. */
  onRepeat: (failure: unknown) => void;
};

/** @returns undefined when the row has changed since it was read, or the lease is lost */
async function runUpdate(ctx: Context, stored: Stored, columns: Columns, options: Options) {
  const [outcome] = await query<Outcome>(ctx, (sql, failure) => {
    if (failure !== undefined) options.onRepeat(failure);
    return updateStatement(sql, ctx, stored, columns, options);
  });
  if (!outcome) return undefined;
  const { needed_by, ...changed } = outcome;
  if (needed_by > 0) throw new Problem(brokerNeeded, undefined, { extra: affectedMembers(needed_by) });
  const { tag, ...row } = changed as Changed;
  return { data: formatBroker(row), tag };
}

/** @param failure of an earlier attempt of the update; undefined: there was none */
function selectStatement(sql: Sql, ctx: Context, id: number, failure: unknown) {
  return sql<Stored[]>`
    select id, protocol, host, port, ca_cert, verify_certificate, username, password_sealed, client_cert, client_key,
           client_key_sealed, is_active, is_default, accepts_new_devices, use_tls, client_id_prefix, keep_alive, clean_session,
           reconnect_period, connect_timeout, xmin::text as version, ${brokerTag(sql)} as tag,
           ${isChangeRepeated(sql, ctx, failure, 'broker', sql`${String(id)}`)} as is_repeated
    from mqtt_broker_config b where id = ${id}`;
}

/** Returns no row, and changes nothing, when the row has changed since it was read or the lease is lost. */
function updateStatement(
  sql: Sql,
  ctx: Context,
  { id, version, is_default }: Stored,
  { extra_config, ...columns }: Columns,
  { closes, lease }: Options,
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
      select b.* from mqtt_broker_config b
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
      returning *
    ), former_unset as (
      select count(*) >= 0 as done from former
    ), updated as (
      ${change}
      from allowed, former_unset
      where b.id = allowed.id and needed_by = 0 and former_unset.done
      returning b.*
    ), was as (
      select b.id, b.name, b.is_default, ${recordedBroker(sql)} as recorded from unchanged b
    ), event as (
      ${recordOperatorEvents(
        sql,
        ctx,
        'broker',
        sql`
          select case when b.is_default is distinct from was.is_default then 'default-changed' else 'broker-changed' end as type,
                 b.id, b.name, null as reason, was.recorded as before,
                 ${recordedBroker(sql)} || ${JSON.stringify(newSecrets(columns))}::text::jsonb as after
          from updated b, was
          union all
          ${formerDefaultEvent(sql, closes && takesOver)}`,
      )}
    )
    select ${oneColumns(sql)}, ${brokerTag(sql)} as tag, needed_by from allowed left join updated b on true`;
}

/** Says of a secret that is set that it is new: otherwise a replaced one would not be a difference. */
function newSecrets({ password_sealed, client_key_sealed }: Columns) {
  return { ...(password_sealed ? { password: 'new' } : {}), ...(client_key_sealed ? { client_key: 'new' } : {}) };
}
