import type { Fragment, Sql } from '../database/db.ts';
import { matchesAssignment, matchesDevice } from './filter-sql.ts';
import type { Filter } from './input.ts';

// The devices of a batch, for the one row of `job`. cursor_id: the job's cursor after this device. skip_reason NULL: may be moved.
// LATERAL, so that the index on id delivers the devices in order and the limit ends the scan.

/** SQL for the next devices that match the filter and are not at the target. */
export function devicesToMove(sql: Sql, filter: Filter, limit: number): Fragment {
  return sql`
    select device.* from job cross join lateral (
      select d.id::bigint as cursor_id, d.id as device_id, d.uuid::text as device_uuid, d.fleet_id,
             d.mqtt_broker_id as from_broker_id, job.target_broker_id as to_broker_id, job.created_at as job_created_at,
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
           d.mqtt_broker_id as from_broker_id, e.from_broker_id as to_broker_id, job.created_at as job_created_at,
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
