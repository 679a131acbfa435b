import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import { brokerConfigNotFound, brokerInUse, brokerNeeded, Problem, reassignTargetUnusable } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { leftWithout } from './default-dependents.ts';

/** More are moved by a bulk-assign job first: one statement would outlast the request. */
const MAX_MOVED = 10_000;

type Options = {
  /** Where its devices go first; undefined: it must have none. */
  reassignTo: number | 'default' | undefined;
  /** Also when devices are left without a broker. */
  force: boolean;
};

type Outcome = {
  found: boolean;
  deleted: boolean;
  assigned: number;
  target_usable: boolean;
  left_without: number;
  moved: number;
};

/**
 * Deletes a broker. Its devices are moved first, each move recorded, in the same statement; provisioning
 * keys that name it name none afterwards. A device that registers onto it meanwhile follows the default.
 *
 * @throws Problem `broker-config-not-found`, `broker-in-use`, `reassign-target-unusable`, `broker-needed`
 */
export async function deleteBroker(ctx: Context, id: number, options: Options) {
  const [outcome] = await query<Outcome>(ctx, (sql) => deleteStatement(sql, ctx, id, options));
  const { found, deleted, assigned, target_usable, left_without, moved } = outcome as Outcome;
  if (!found) throw new Problem(brokerConfigNotFound);
  if (deleted) {
    const message = 'Broker configuration deleted';
    return { success: true, message, ...(options.reassignTo ? { devices_moved: moved } : {}) };
  }
  if (!target_usable) throw new Problem(reassignTargetUnusable);
  if (assigned > 0 && (!options.reassignTo || assigned > MAX_MOVED)) throw inUse(assigned);
  throw new Problem(brokerNeeded, undefined, { extra: { devices_count: String(left_without) } });
}

function inUse(assigned: number): Problem {
  const many = `${assigned} devices are assigned to it; at most ${MAX_MOVED} are moved here. Move them with POST /api/v1/devices/bulk-assign first.`;
  return new Problem(brokerInUse, assigned > MAX_MOVED ? many : undefined, {
    extra: { devices_count: String(assigned) },
  });
}

function deleteStatement(sql: Sql, ctx: Context, id: number, { reassignTo, force }: Options) {
  const targetId = typeof reassignTo === 'number' ? reassignTo : null;
  const hasLastResort = force || settings().mqttBrokerUrl !== undefined;
  const moved = sql`${targetId !== null} and d.mqtt_broker_id is not distinct from ${id}`;
  return sql<Outcome[]>`
    -- Keys before the broker, as a registration locks them: the other way round they would deadlock.
    with keys as (
      select id from provisioning_keys where default_broker_id = ${id} for no key update
    ), broker as (
      select id, is_active, is_default and is_active as is_default from mqtt_broker_config
      where id = ${id} and (select count(*) from keys) >= 0 for update
    ), target as (
      select id from mqtt_broker_config where id = ${targetId} and id <> ${id} and is_active for share
    ), facts as (
      select
        (select count(*) from devices where mqtt_broker_id = ${id})::integer as assigned,
        case
          when ${targetId !== null} then exists (select from target)
          -- The default itself has no other default to give its devices to; who is left without is counted below.
          when ${reassignTo === 'default'} then ${hasLastResort} or (select is_default from broker)
            or exists (select from mqtt_broker_config where is_default and is_active)
          else true
        end as target_usable,
        case when ${hasLastResort} then 0 else ${leftWithout(sql, id, sql`broker`, moved)} end as left_without
    ), allowed as (
      select from broker, facts
      where target_usable and left_without = 0 and (assigned = 0 or (${reassignTo !== undefined} and assigned <= ${MAX_MOVED}))
    ), moved as (
      update devices
      set mqtt_broker_id = (select id from target), mqtt_broker_assigned_at = now(), modified_at = now() at time zone 'utc'
      where mqtt_broker_id = ${id} and exists (select from allowed)
      returning uuid, fleet_id
    ), event as (
      insert into device_events
        (type, device_uuid, fleet_id, actor, reason, from_broker_id, to_broker_id, source_ip, request_id)
      select 'moved', uuid::text, fleet_id, ${ctx.actor}, 'broker deleted', ${id}, (select id from target),
             ${ctx.sourceIp}, ${ctx.requestId}
      from moved
    ), deleted as (
      delete from mqtt_broker_config
      where id = ${id} and exists (select from allowed) and (select count(*) from moved) >= 0
      returning id
    )
    select exists (select from broker) as found, exists (select from deleted) as deleted, facts.*,
           (select count(*) from moved)::integer as moved
    from facts`;
}
