import type { Context } from '../context.ts';
import type { Fragment, Sql } from '../database/db.ts';

/** What can happen to a device. berth_is_event_type in the database has the same list. */
export const EVENT_TYPES = [
  'registered',
  'refused',
  'moved',
  'skipped',
  'updated',
  'fleet-changed',
  'activated',
  'deactivated',
  'credentials-renewed',
  'credentials-revoked',
  'deleted',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * SQL: records an event for each row, with the caller's actor, address and request. It is a clause of the statement that
 * changes the device, so neither exists without the other.
 *
 * @param rows SQL: a query of type ({@link EventType}), device_uuid, device_id, fleet_id, reason, from_broker_id, to_broker_id
 */
export function recordEvents(sql: Sql, ctx: Context, rows: Fragment): Fragment {
  return sql`
    insert into device_events (
      type, device_uuid, device_id, fleet_id, reason, from_broker_id, to_broker_id, actor, source_ip, request_id)
    select type, device_uuid, device_id, fleet_id, reason, from_broker_id, to_broker_id,
           ${ctx.actor}, ${ctx.sourceIp}, ${ctx.requestId}
    from (${rows}) event`;
}

/**
 * SQL: {@link recordEvents} for a job, whose creator is the actor wherever the job runs.
 * @param rows also actor and job_id; they are recorded in the order of `ordinal`
 */
export function recordJobEvents(sql: Sql, ctx: Context, rows: Fragment): Fragment {
  return sql`
    insert into device_events (
      type, device_uuid, device_id, fleet_id, reason, from_broker_id, to_broker_id, actor, job_id, request_id)
    select type, device_uuid, device_id, fleet_id, reason, from_broker_id, to_broker_id, actor, job_id, ${ctx.requestId}
    from (${rows}) event
    order by ordinal
    returning type, reason`;
}

/** What operators do with brokers, provisioning keys and jobs. operator_events_type_check in the database has the same list. */
export const OPERATOR_EVENT_TYPES = [
  'broker-created',
  'broker-changed',
  'default-changed',
  'broker-deleted',
  'broker-tested',
  'key-issued',
  'key-changed',
  'key-revoked',
  'job-created',
  'job-cancelled',
  'job-resumed',
] as const;
export type OperatorEventType = (typeof OPERATOR_EVENT_TYPES)[number];
export type TargetKind = 'broker' | 'key' | 'job';

/**
 * SQL: records what an operator did, for each row whose `before` and `after` differ. It is a clause of the statement that makes
 * the change, so neither exists without the other.
 *
 * @param kind of the targets
 * @param rows SQL: a query of type ({@link OperatorEventType}), id and name of the target, reason, and before and after: JSON
 *   objects without secrets, or NULL where the target does not exist. Only members that differ are stored
 */
export function recordOperatorEvents(sql: Sql, ctx: Context, kind: TargetKind, rows: Fragment): Fragment {
  return sql`
    insert into operator_events (
      type, target_kind, target_id, target_name, before, after, reason, actor, source_ip, request_id)
    select type, ${kind}, id::text, name, berth_differences(before, after), berth_differences(after, before), reason,
           ${ctx.actor}, ${ctx.sourceIp}, ${ctx.requestId}
    from (${rows}) event
    where before is distinct from after`;
}

/**
 * SQL: as {@link isRepeated}, for a target of {@link recordOperatorEvents}. True only if the earlier attempt changed something.
 * @param id SQL: of the target, as text
 */
export function isChangeRepeated(sql: Sql, ctx: Context, failure: unknown, kind: TargetKind, id: Fragment): Fragment {
  return failure === undefined ? sql`false` : sql`berth_has_recorded_change(${kind}, ${id}, ${ctx.requestId})`;
}

/**
 * SQL: whether an earlier attempt of this statement was committed and only its reply was lost. That attempt may still run
 * when this one begins, so evaluate it after the device's row is locked or gone.
 *
 * @param failure of the earlier attempt; undefined: this is the first one
 * @param uuid as in the events that the statement records
 */
export function isRepeated(sql: Sql, ctx: Context, failure: unknown, uuid: string): Fragment {
  return failure === undefined ? sql`false` : sql`berth_has_recorded(${uuid}, ${ctx.requestId})`;
}
