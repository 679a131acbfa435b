import type { Fragment, Sql } from '../database/db.ts';
import type { Filter } from './input.ts';

// One condition per member that is present, instead of `member is null or …` on the job's jsonb, which no index serves.

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
export function matchesDevice(sql: Sql, { fleet_id, device_type, region, tags, uuids }: Filter): Fragment {
  const fleet = fleet_id === undefined ? sql`true` : sql`d.fleet_id = ${fleet_id}`;
  const type = device_type === undefined ? sql`true` : sql`d.device_type = ${device_type}`;
  const place = region === undefined ? sql`true` : sql`d.region = ${region}`;
  // `is true`, because a batch must read the devices in the order of ids: the index would deliver all with the tags each time.
  const tagged = tags === undefined ? sql`true` : sql`(d.tags @> ${sql.json(tags)}::jsonb) is true`;
  // An array, not a subquery: for a subquery, the planner can choose to compare every device with every uuid.
  const named = uuids
    ? sql`d.uuid = any(array(select berth_uuid(uuid) from unnest(${uuids}::text[]) uuid))`
    : sql`true`;
  return sql`${fleet} and ${type} and ${place} and ${tagged} and ${named}`;
}

/**
 * SQL for one row `start_id, end_id`: no device that matches has an id up to the first, or after the second. Each member of
 * the filter alone, by the end of its index, so it takes no time however many devices there are.
 */
export function idBounds(sql: Sql, { unassigned, broker_id, fleet_id, device_type }: Filter): Fragment {
  const ends = (condition: Fragment, order = sql``, backwards = sql``) => sql`
    select (select id from devices d where ${condition} order by ${order} id limit 1) as first,
           (select id from devices d where ${condition} order by ${backwards} id desc limit 1) as last`;
  const parts = [
    ends(sql`true`),
    ...(unassigned ? [ends(sql`d.mqtt_broker_id is null`, sql`d.mqtt_broker_id,`, sql`d.mqtt_broker_id desc,`)] : []),
    ...(broker_id === undefined ? [] : [ends(sql`d.mqtt_broker_id = ${broker_id}`)]),
    ...(fleet_id === undefined ? [] : [ends(sql`d.fleet_id = ${fleet_id}`)]),
    ...(device_type === undefined ? [] : [ends(sql`d.device_type = ${device_type}`)]),
  ];
  const all = parts.reduce((one, other) => sql`${one} union all ${other}`);
  return sql`
    select coalesce(max(first), 1) - 1 as start_id,
           case when bool_and(first is not null) then greatest(min(last), max(first) - 1) else coalesce(max(first), 1) - 1 end as end_id
    from (${all}) bounds`;
}
