import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { pageQuery, text } from '../fields.ts';

export const listFleetsQuery = z.strictObject({
  limit: pageQuery.limit,
  after: z.optional(text(100, 'Fleets after this one: `next` of the previous page')),
});

export const fleetReply = z.object({
  fleet_id: z.string(),
  device_count: z.int().check(z.meta({ description: 'Its devices' })),
  device_count_is_exact: z.boolean().check(
    z.meta({
      description: 'false: there are more than 1,000; the number is that of the places which its keys have given away',
    }),
  ),
  key_count: z.int().check(z.meta({ description: 'Its provisioning keys' })),
  usable_key_count: z.int().check(z.meta({ description: 'Those of them that devices can register with now' })),
  places_left: z.int().check(z.meta({ description: 'How many devices can register with these' })),
});
type Fleet = z.output<typeof fleetReply>;

/** Devices that are counted one by one in each fleet. */
const COUNTED = 1_000;

/**
 * A page of fleets with their counts, in the order of their ids: those that have devices or provisioning keys. Indexes lead
 * from one fleet to the next, so the cost depends on the fleets of the page, not on the devices.
 *
 * @returns the page, and the last id when there are more
 */
export async function listFleets(ctx: Context, { limit = 100, after }: z.output<typeof listFleetsQuery>) {
  const rows = await query<Fleet>(
    ctx,
    (sql) => sql`
      with recursive fleet (id) as (
        select ${nextFleet(sql, after === undefined ? sql`is not null` : sql`> ${after}`)}
        union all
        select ${nextFleet(sql, sql`> fleet.id`)} from fleet where fleet.id is not null
      ), page as (
        select id from fleet where id is not null limit ${limit + 1}
      )
      select page.id as fleet_id,
             case when device.counted <= ${COUNTED} then device.counted
                  else greatest(device.counted, key.places_used) end as device_count,
             device.counted <= ${COUNTED} as device_count_is_exact,
             key_count, usable_key_count, places_left
      from page
      cross join lateral (
        select count(*)::integer as counted
        from (
          select from devices
          -- Not an equality: for that, the planner would rather read all devices in the order of their ids.
          where (fleet_id, id) >= (page.id, 0) and fleet_id <= page.id order by fleet_id, id limit ${COUNTED + 1}) few
      ) device
      cross join lateral (
        select count(*)::integer as key_count, (count(*) filter (where places > 0))::integer as usable_key_count,
               coalesce(sum(places), 0)::integer as places_left,
               coalesce(sum(devices_provisioned), 0)::integer as places_used
        from provisioning_keys k
        left join lateral (
          select greatest(k.max_devices - coalesce(k.devices_provisioned, 0), 0) as places
          where k.is_active and k.expires_at > berth_now()
        ) usable on true
        where k.fleet_id = page.id
      ) key
      order by page.id`,
  );
  const fleets = rows.slice(0, limit);
  return { fleets, lastId: rows.length > limit ? fleets.at(-1)?.fleet_id : undefined };
}

/** SQL: the first fleet of devices and keys that fits the condition; NULL: there is none. */
function nextFleet(sql: Sql, condition: Fragment): Fragment {
  return sql`least(
    (select fleet_id::text from devices where fleet_id ${condition} order by fleet_id limit 1),
    (select fleet_id::text from provisioning_keys where fleet_id ${condition} order by fleet_id limit 1))`;
}
