import type { Fragment, Sql } from '../database/db.ts';
import type { Filter } from './input.ts';

/** SQL for "the device `d` fits the filter". An empty filter fits every device. */
export function matching(sql: Sql, filter: Filter): Fragment {
  return sql`${matchingAssignment(sql, filter)} and ${matchingDevice(sql, filter)}`;
}

/** The part of {@link matching} that the device's assignment decides. */
export function matchingAssignment(sql: Sql, { unassigned, broker_id }: Filter): Fragment {
  if (unassigned) return sql`d.mqtt_broker_id is null`;
  return broker_id === undefined ? sql`true` : sql`d.mqtt_broker_id = ${broker_id}`;
}

/** The part of {@link matching} that stays the same when a device is moved. */
export function matchingDevice(sql: Sql, { fleet_id, device_type, uuids }: Filter): Fragment {
  const fleet = fleet_id === undefined ? sql`true` : sql`d.fleet_id = ${fleet_id}`;
  const type = device_type === undefined ? sql`true` : sql`d.device_type = ${device_type}`;
  // A uuid has no comma in it.
  const named = uuids
    ? sql`d.uuid in (select berth_uuid(uuid) from unnest(string_to_array(${uuids.join(',')}, ',')) as uuid)`
    : sql`true`;
  return sql`${fleet} and ${type} and ${named}`;
}
