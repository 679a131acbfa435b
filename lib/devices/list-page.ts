import type { Context } from '../context.ts';
import { type Fragment, plannedForItsValues, query, type Sql } from '../database/db.ts';
import { kindOf } from '../resolution/alike.ts';
import { groupOf, groupsBehind, isBehind, resolvedBrokerOf } from '../resolution/behind.ts';
import { type DeviceRow, deviceJson } from './row.ts';

/** SQL: all that the devices `d` of a list fulfil. */
export type Conditions = (sql: Sql) => Fragment;
/** What a page has: devices after an id, at most `limit`. */
type Page = { conditions: Conditions; after: number; limit: number };
type Row = { device: DeviceRow };
/** The filters that decide how a list is read. */
type Filters = {
  fleet_id?: string | undefined;
  broker_id?: number | undefined;
  unassigned?: boolean | undefined;
  device_type?: string | undefined;
  is_active?: boolean | undefined;
  region?: string | undefined;
};

/**
 * Devices of a fleet, type or broker that are read in the order of ids until a page is full. If they are not enough, those that
 * fulfil all conditions are few, and it is faster to collect them all: the planner would rather read on, because it does not know that
 * a fleet has no device at that broker.
 */
const READ = 10_000;
/** The same for devices that are behind, which are resolved one by one. */
const RESOLVED = 2_000;

/** A page of devices in the order of ids, or fewer than `limit` if there are no more. */
export async function pageOf(ctx: Context, filters: Filters, page: Page): Promise<Row[]> {
  const { conditions, after, limit } = page;
  if (countOf(filters) < 2) {
    return query<Row>(
      ctx,
      (sql) => sql`
        select ${deviceJson(sql, 'd')} as device from devices d where ${conditions(sql)} order by d.id limit ${limit}`,
    );
  }
  const rows = await query<Row>(
    ctx,
    (sql) => sql`
      select ${deviceJson(sql, 'd')} as device from ${firstOf(sql, filters, after, READ)} d where ${conditions(sql)} limit ${limit}`,
  );
  if (rows.length === limit) return rows;
  return query<Row>(ctx, (sql) =>
    plannedForItsValues(sql<Row[]>`
      with fits as materialized (select d.id from devices d where ${conditions(sql)})
      select ${deviceJson(sql, 'd')} as device
      from (select id from fits order by id limit ${limit}) page join devices d on d.id = page.id
      order by d.id`),
  );
}

/** {@link pageOf} for devices that were last handed other settings than their broker has now. */
export async function pageOfBehind(ctx: Context, filters: Filters, page: Page): Promise<Row[]> {
  const { broker_id, unassigned, ...others } = filters;
  if (countOf(others) === 0) return query<Row>(ctx, (sql) => groupStatement(sql, { broker_id, unassigned }, page));
  const { conditions, after, limit } = page;
  const rows = await query<Row>(
    ctx,
    (sql) => sql`
      with recursive ${groupsBehind(sql)}
      select ${deviceJson(sql, 'd')} as device
      from ${firstOf(sql, filters, after, RESOLVED)} d ${resolvedBrokerOf(sql)}
      where ${conditions(sql)} and ${isInGroup(sql)} and ${isBehind(sql)}
      limit ${limit}`,
  );
  if (rows.length === limit) return rows;
  return query<Row>(ctx, (sql) =>
    plannedForItsValues(sql<Row[]>`
      with recursive ${groupsBehind(sql)}, fits as materialized (
        select d.id, d.uuid, d.mqtt_broker_id, d.provisioned_by_key_id, d.handed_broker_id, d.handed_settings
        from devices d where ${conditions(sql)} and ${isInGroup(sql)}
      ), kind as materialized (
        -- Few resolutions stand for all devices.
        select ${kindOf(sql)}, b.id, b.settings_hash
        from (select distinct null::text as uuid, d.mqtt_broker_id, d.provisioned_by_key_id from fits d) d ${resolvedBrokerOf(sql)}
      ), page as (
        select d.id
        from fits d join kind b (mqtt_broker, key, id, settings_hash) on (b.mqtt_broker, b.key) = (${kindOf(sql)})
        where ${isBehind(sql)} order by d.id limit ${limit}
      )
      select ${deviceJson(sql, 'd')} as device from page join devices d on d.id = page.id order by d.id`),
  );
}

/** Reads the groups of devices that can be behind, each in the order of ids. */
function groupStatement(
  sql: Sql,
  { broker_id, unassigned }: Pick<Filters, 'broker_id' | 'unassigned'>,
  { conditions, after, limit }: Page,
) {
  return sql<Row[]>`
    with recursive ${groupsBehind(sql)}
    select page.device
    from alike
    cross join lateral (
      select d.id, ${deviceJson(sql, 'd')} as device
      from devices d ${resolvedBrokerOf(sql)}
      -- Not an equality: for that, the planner would rather read all devices in the order of their ids.
      where (${groupOf(sql)}, d.id) > (alike.assigned, alike.handed, alike.settings, ${after}::integer)
        and (${groupOf(sql)}) <= (alike.assigned, alike.handed, alike.settings)
        and ${isBehind(sql)} and ${conditions(sql)}
      order by ${groupOf(sql)}, d.id
      limit ${limit}
    ) page
    where ${broker_id === undefined ? sql`true` : sql`alike.assigned = ${broker_id}`}
      and ${unassigned === undefined ? sql`true` : sql`(alike.assigned = 0) = ${unassigned}`}
    order by page.id
    limit ${limit}`;
}

/** SQL: whether the device `d` can be behind. `is true`, so that the planner looks the group up instead of joining. */
function isInGroup(sql: Sql): Fragment {
  return sql`((${groupOf(sql)}) in (select assigned, handed, settings from alike)) is true`;
}

/** The number of filters that an index finds. `is_active: true` is none: it leaves out few devices. */
function countOf({ fleet_id, broker_id, unassigned, device_type, is_active, region }: Filters): number {
  const given = [fleet_id, broker_id ?? unassigned, device_type, is_active === false ? true : undefined, region];
  return given.filter((filter) => filter !== undefined).length;
}

/**
 * SQL for FROM: the first {@link READ} devices of one of the filters, in the order of ids. Row comparisons, not equalities: for
 * those, the planner would rather read all devices in the order of their ids.
 */
function firstOf(sql: Sql, filters: Filters, after: number, count: number): Fragment {
  const of = (column: Fragment, value: string | number) => sql`
    (select d.* from devices d where (${column}, d.id) > (${value}, ${after}::integer) and ${column} <= ${value}
     order by ${column}, d.id limit ${count})`;
  const { fleet_id, broker_id, device_type, is_active, region } = filters;
  if (is_active === false) {
    return sql`
      (select d.* from devices d where not coalesce(d.is_active, true) and d.id > ${after} order by d.id limit ${count})`;
  }
  if (region !== undefined) return of(sql`d.region`, region);
  if (device_type !== undefined) return of(sql`d.device_type`, device_type);
  if (fleet_id !== undefined) return of(sql`d.fleet_id`, fleet_id);
  if (broker_id !== undefined) return of(sql`d.mqtt_broker_id`, broker_id);
  return sql`(select d.* from devices d where d.id > ${after} order by d.id limit ${count})`;
}
