import type { Fragment, Sql } from '../database/db.ts';
import { NO_KEY } from '../resolution/alike.ts';
import { matchesAssignment, matchesDevice, matchesFilter } from './filter-sql.ts';
import type { Filter } from './input.ts';
import type { Job } from './row.ts';

// The devices of a batch, for the one row of `job`. cursor_id: the job's cursor after this device. skip_reason NULL: may be moved.
// LATERAL, so that the index on id delivers the devices in order and the limit ends the scan.

/** SQL for the next devices that match the filter and are not at the target. */
export function devicesToMove(sql: Sql, filter: Filter, limit: number): Fragment {
  return sql`
    select device.* from job cross join lateral (
      select d.id::bigint as cursor_id, d.id as device_id, d.uuid::text as device_uuid, d.fleet_id,
             d.mqtt_broker_id as from_broker_id, job.target_broker_id as to_broker_id, d.provisioned_by_key_id,
             job.created_at as job_created_at,
             case when d.mqtt_broker_assigned_at > job.created_at then 'changed-since' end as skip_reason
      from devices d
      where d.id > job.cursor_id and d.id <= job.window_end
        and d.mqtt_broker_id is distinct from job.target_broker_id
        and ${matchesDevice(sql, filter)} and (${matchesAssignment(sql, filter)} or ${wasMovedAway(sql, filter)})
      order by d.id
      limit ${limit}) device
    where job.failure is null`;
}

/** SQL for "the device `d` matched the filter's assignment when the job was created, and was moved since". */
function wasMovedAway(sql: Sql, { unassigned, broker_id }: Filter): Fragment {
  if (!unassigned && broker_id === undefined) return sql`false`;
  return sql`(
    d.mqtt_broker_assigned_at > job.created_at and exists (
      select from device_events e
      where (e.device_uuid = d.uuid::text and e.job_id is null or e.device_id = d.id and e.job_id is not null)
        and e.type = 'moved' and e.at > job.created_at
        and e.from_broker_id is not distinct from ${broker_id ?? null}::integer))`;
}

/** SQL for the next devices that the reverted job moved, each with the broker that it came from. */
export function devicesToMoveBack(sql: Sql, limit: number): Fragment {
  return sql`
    select e.id as cursor_id, e.device_id, e.device_uuid, d.fleet_id,
           d.mqtt_broker_id as from_broker_id, e.from_broker_id as to_broker_id, d.provisioned_by_key_id,
           job.created_at as job_created_at,
           case when d.id is null then 'device-deleted'
                when d.mqtt_broker_id is distinct from e.to_broker_id
                  or d.mqtt_broker_assigned_at > job.created_at then 'changed-since'
                when e.from_broker_id is not null and previous.id is null then 'broker-deleted'
                when previous.refusal = 'inactive' then 'broker-inactive' end as skip_reason
    from job cross join lateral (
      select id, device_id, device_uuid, from_broker_id, to_broker_id from device_events e
      where e.job_id = job.reverts_job_id and e.type = 'moved' and e.id > job.cursor_id and e.id <= job.window_end
      order by e.id
      limit ${limit}) e
    left join devices d on d.id = e.device_id
    left join mqtt_broker_config previous on previous.id = e.from_broker_id`;
}

/**
 * SQL for the pairs of assignments among `picked`, with the provisioning key, between which the resolved broker stays the same:
 * from_id, to_id, key_id, with 0 and {@link NO_KEY} for NULL. Resolves once for the devices that are alike. Between two
 * brokers that serve devices it never stays the same.
 */
export function pairsThatStay(sql: Sql): Fragment {
  return sql`
    select coalesce(from_broker_id, 0) as from_id, coalesce(to_broker_id, 0) as to_id,
           coalesce(provisioned_by_key_id, ${NO_KEY}::uuid) as key_id
    from (
      select distinct from_broker_id, to_broker_id, provisioned_by_key_id from picked
      where from_broker_id is null or to_broker_id is null
        or from_broker_id in (select id from mqtt_broker_config where refusal = 'inactive')
    ) alike
    left join lateral berth_resolved(null, from_broker_id, provisioned_by_key_id, false) before on true
    left join lateral berth_resolved(null, to_broker_id, provisioned_by_key_id, false) after on true
    where before.broker_id is not distinct from after.broker_id`;
}

/** SQL for the number of matching devices between the cursor before and after a batch that are assigned to the target already. */
export function devicesPassed(sql: Sql, { filter, target_broker_id, reverts_job_id }: Job): Fragment {
  const { unassigned, broker_id } = filter;
  const contradicts =
    target_broker_id === null
      ? broker_id !== undefined
      : unassigned || (broker_id ?? target_broker_id) !== target_broker_id;
  if (reverts_job_id !== null || contradicts) return sql`select 0 as devices`;
  return sql`
    select count(*)::integer as devices from job, next, devices d
    where ${target_broker_id === null ? sql`d.mqtt_broker_id is null` : sql`d.mqtt_broker_id = ${target_broker_id}`}
      and d.id > job.cursor_id and d.id <= next.cursor_id and ${matchesFilter(sql, filter)}`;
}
