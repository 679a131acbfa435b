import type { Context } from '../context.ts';
import type { Fragment, Sql } from '../database/db.ts';

/** What can happen to a device. The constraint device_events_type_check has the same list. */
export const EVENT_TYPES = [
  'registered',
  'refused',
  'moved',
  'skipped',
  'updated',
  'activated',
  'deactivated',
  'credentials-renewed',
  'credentials-revoked',
  'deleted',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** One event: values, or SQL over the rows that it is recorded for. */
type DeviceEvent = {
  type: EventType | Fragment;
  device_uuid: string | Fragment;
  /** Set where the uuid alone does not identify the device: by jobs and on deletion. */
  device_id?: Fragment;
  fleet_id: string | null | Fragment;
  /** Who acted, if it is not the caller. */
  actor?: Fragment;
  reason?: string | null | Fragment;
  from_broker_id?: number | Fragment;
  to_broker_id?: Fragment;
  job_id?: Fragment;
};

/**
 * SQL: records an event for each row of `from`, with actor, address and request of the caller. It is a clause of the
 * statement that changes the device, so neither exists without the other.
 *
 * @param from SQL for FROM, with WHERE and ORDER BY if needed
 */
export function recordEvents(sql: Sql, ctx: Context, from: Fragment, event: DeviceEvent): Fragment {
  return sql`
    insert into device_events (
      type, device_uuid, device_id, fleet_id, actor, reason, from_broker_id, to_broker_id, job_id, source_ip, request_id)
    select ${event.type}, ${event.device_uuid}, ${event.device_id ?? null}::integer, ${event.fleet_id},
           ${event.actor ?? ctx.actor}, ${event.reason ?? null}, ${event.from_broker_id ?? null}::integer,
           ${event.to_broker_id ?? null}::integer, ${event.job_id ?? null}::integer,
           ${ctx.sourceIp || null}, ${ctx.requestId}
    from ${from}`;
}
