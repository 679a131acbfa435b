import type { Fragment, Sql } from '../database/db.ts';
import type { Filter } from './input.ts';

// A condition for each member that is there, and none on the job's jsonb: `filter is null or …` hides an index from the planner,
// and named devices must be found by theirs.

/** SQL for "the device `d` matches the filter". An empty filter matches every device. */
export function matchesFilter(sql: Sql, filter: Filter): Fragment {
  return sql`${matchesAssignment(sql, filter)} and ${matchesDevice(sql, filter)}`;
}

/** The part of {@link matchesFilter} that depends on where the device is assigned. */
export function matchesAssignment(sql: Sql, { unassigned, broker_id }: Filter): Fragment {
  if (unassigned) return sql`d.mqtt_broker_id is null`;
  return broker_id === undefined ? sql`true` : sql`d.mqtt_broker_id = ${broker_id}`;
}

/** The part of {@link matchesFilter} that a move does not change. */
export function matchesDevice(sql: Sql, { fleet_id, device_type, uuids }: Filter): Fragment {
  const fleet = fleet_id === undefined ? sql`true` : sql`d.fleet_id = ${fleet_id}`;
  const type = device_type === undefined ? sql`true` : sql`d.device_type = ${device_type}`;
  const named = uuids ? sql`d.uuid in (select berth_uuid(uuid) from unnest(${uuids}::text[]) as uuid)` : sql`true`;
  return sql`${fleet} and ${type} and ${named}`;
}
