import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import type { Lease } from '../database/leases.ts';
import {
  brokerConfigNotFound,
  brokerHasDevices,
  brokerInUse,
  brokerNeeded,
  Problem,
  reassignTargetUnusable,
} from '../errors.ts';
import { recordEvents, recordOperatorEvents } from '../events/record.ts';
import { devicesAlike, kindOf } from '../resolution/alike.ts';
import { settings } from '../settings/settings.ts';
import { affectedMembers, countAffected, totalOf } from './count-affected.ts';
import { leftWithout } from './default-dependents.ts';
import { mayUseAsFormer } from './former-devices.ts';
import { refuseChangedBroker } from './get.ts';
import { recordedBroker } from './record.ts';
import { retryOnConflict } from './retry-on-conflict.ts';
import { brokerTag } from './row.ts';
import { lockOf, withdrawAlone } from './withdrawal.ts';

/** More devices than this must be moved by a bulk-assign job first: one statement would outlast the request. */
const MAX_MOVED = 10_000;
/** More former devices than this are not counted: a refusal needs no exact number. */
const MAX_COUNTED = 10_000;

type Options = {
  /** Where the broker's devices go first; undefined: the broker must have none. */
  reassignTo: number | 'default' | undefined;
  /** Delete even if devices are left without a broker, or still use it after a move. */
  force: boolean;
  /** The entity tags of If-Match without quotes; undefined: whatever the broker is now. */
  tags: string[] | undefined;
};

type Outcome = {
  found: boolean;
  tag_matches: boolean | null;
  deleted: boolean;
  assigned: number;
  target_usable: boolean;
  left_without: number;
  former: number;
  moved: number;
};

/**
 * Deletes a broker. Its devices are moved first, each move recorded, in the same statement; provisioning keys that name it
 * name none afterwards. A device that registers onto it meanwhile follows the default.
 *
 * A broker that was there, and is gone when the statement is repeated after a lost reply, was deleted by the earlier attempt.
 * How many devices that one moved is not known then.
 *
 * @returns how many devices the deletion affects, counted before it; null: they could not be counted in time
 * @throws Problem `broker-config-not-found`, `precondition-failed`, `broker-in-use`, `reassign-target-unusable`,
 *   `broker-needed`, `broker-has-devices`, `broker-changing`
 */
export async function deleteBroker(ctx: Context, id: number, options: Options) {
  const { reassignTo, force } = options;
  const mayLeaveDevicesWithout = force || settings().mqttBrokerUrl !== undefined;
  const [before] = await query(ctx, (sql) => sql`select id from mqtt_broker_config where id = ${id}`);
  if (!before) throw new Problem(brokerConfigNotFound);
  const affected = await countAffected(ctx, {
    id,
    isActive: false,
    default: 'stays',
    concernsItsDevices: false,
    endsFormer: true,
    ...(reassignTo && { reassignedTo: reassignTo === 'default' ? null : reassignTo }),
  });
  let isRepeated = false;
  const run = async (lease?: Lease) => {
    const [outcome] = await query<Outcome>(ctx, (sql, failure) => {
      isRepeated ||= failure !== undefined;
      return deleteStatement(sql, ctx, id, options, lease);
    });
    return outcome;
  };
  const outcome = await retryOnConflict(ctx, () => (mayLeaveDevicesWithout ? run() : withdrawAlone(ctx, run)));
  const { found, tag_matches, deleted, assigned, target_usable, left_without, former, moved } = outcome;
  if (!found && !isRepeated) throw new Problem(brokerConfigNotFound);
  if (!found || deleted) {
    const moves = found && reassignTo ? { devices_moved: moved } : {};
    return { success: true, message: 'Broker configuration deleted', devices_affected: totalOf(affected), ...moves };
  }
  if (!tag_matches) return refuseChangedBroker(ctx, id);
  if (!target_usable) throw new Problem(reassignTargetUnusable);
  if (assigned > 0 && (!reassignTo || assigned > MAX_MOVED)) throw inUse(assigned);
  if (left_without > 0) throw new Problem(brokerNeeded, undefined, { extra: affectedMembers(left_without) });
  throw hasFormer(former);
}

/**
 * Returns no row, and changes nothing, when the lease is lost.
 * @param lease undefined when devices may be left without a broker: then they are not counted
 */
function deleteStatement(
  sql: Sql,
  ctx: Context,
  id: number,
  { reassignTo, force, tags }: Options,
  lease: Lease | undefined,
) {
  const targetId = typeof reassignTo === 'number' ? reassignTo : null;
  return sql<Outcome[]>`
    with lock as materialized (
      ${lockOf(sql, lease)}
    ), keys as (
      -- Locked before the broker, as a registration locks them; the other order would deadlock.
      select id, fleet_id from provisioning_keys
      where default_broker_id = ${id} and exists (select from lock) for no key update
    ), broker as (
      select id, is_active, is_default and is_active as is_default, ${brokerTag(sql)} as tag, name,
             ${recordedBroker(sql)} as recorded
      from mqtt_broker_config b
      where id = ${id} and exists (select from lock) and (select count(*) from keys) is not null for update
    ), target as (
      select id from mqtt_broker_config where id = ${targetId} and id <> ${id} and is_active for share
    ), facts as (
      select
        (select ${tags === undefined} or tag = any(${tags ?? []}::text[]) from broker) as tag_matches,
        (select count(*) from devices where mqtt_broker_id = ${id})::integer as assigned,
        case
          when ${targetId !== null} then exists (select from target)
          -- The default broker has no other default to give its devices to: left_without counts them.
          when ${reassignTo === 'default'} then ${!lease} or (select is_default from broker)
            or exists (select from mqtt_broker_config where is_default and is_active)
          else true
        end as target_usable,
        ${lease ? leftWithout(sql, id, sql`broker`, targetId !== null) : sql`0`} as left_without,
        ${force ? sql`0` : formerDevices(sql, id)} as former
    ), allowed as (
      select from broker, facts
      where target_usable and left_without = 0 and former = 0
        and tag_matches and (assigned = 0 or (${reassignTo !== undefined} and assigned <= ${MAX_MOVED}))
    ), moved as (
      update devices
      set mqtt_broker_id = (select id from target), mqtt_broker_assigned_at = now(), modified_at = berth_now()
      where mqtt_broker_id = ${id} and exists (select from allowed)
      returning id, uuid, fleet_id
    ), event as (
      ${recordEvents(
        sql,
        ctx,
        sql`
          select 'moved' as type, uuid::text as device_uuid, id as device_id, fleet_id, 'broker deleted' as reason,
                 ${id}::integer as from_broker_id, (select id from target) as to_broker_id
          from moved`,
      )}
    ), deleted as (
      -- Counting the moved devices makes the deletion wait for them.
      delete from mqtt_broker_config
      where id = ${id} and exists (select from allowed) and (select count(*) from moved) is not null
      returning id
    ), operator_event as (
      ${recordOperatorEvents(
        sql,
        ctx,
        'broker',
        sql`
          select 'broker-deleted' as type, broker.id, name, null as reason, recorded as before, null::jsonb as after
          from broker join deleted on deleted.id = broker.id`,
      )}
    ), key_event as (
      ${recordOperatorEvents(
        sql,
        ctx,
        'key',
        sql`
          select 'key-changed' as type, keys.id, fleet_id as name, 'broker deleted' as reason,
                 jsonb_build_object('default_broker_id', deleted.id) as before, '{"default_broker_id": null}'::jsonb as after
          from keys, deleted`,
      )}
    )
    select exists (select from broker) as found, exists (select from deleted) as deleted, facts.*,
           (select count(*) from moved)::integer as moved
    from lock, facts`;
}

/** SQL: the number of devices that belong to another broker and may still use broker `id`, at most MAX_COUNTED. */
function formerDevices(sql: Sql, id: number) {
  return sql`
    (select count(*) from (
     select from mqtt_broker_config b join devices d on ${mayUseAsFormer(sql)}
     where b.id = ${id} and (${kindOf(sql)}) not in (
       select ${kindOf(sql)} from ${devicesAlike(sql, sql`true`)} d
       cross join lateral berth_resolved(null, d.mqtt_broker_id, d.provisioned_by_key_id, false) resolved
       where resolved.broker_id = ${id})
     limit ${MAX_COUNTED}) former)::integer`;
}

function hasFormer(former: number): Problem {
  const detail = `${former}${former === MAX_COUNTED ? ' or more' : ''} devices may still use it because they have not followed a move. Let them follow, or repeat with ?force=true.`;
  return new Problem(brokerHasDevices, detail, { extra: { ...affectedMembers(former), devices_former: former } });
}

function inUse(assigned: number): Problem {
  const tooMany = `${assigned} devices are assigned to it; at most ${MAX_MOVED} are moved here. Move them with POST /api/v1/devices/bulk-assign first.`;
  return new Problem(brokerInUse, assigned > MAX_MOVED ? tooMany : undefined, {
    extra: affectedMembers(assigned),
  });
}
