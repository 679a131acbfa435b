import type { Fragment, Sql } from '../database/db.ts';

/**
 * SQL: whether the settings that the device `d` was last handed are not the current ones of the broker `b` that it belongs to.
 * False where it is not known what the device was handed, and where no broker resolves.
 */
export function isBehind(sql: Sql): Fragment {
  return sql`coalesce(d.handed_broker_id <> b.id or d.handed_settings <> b.settings_hash, false)`;
}

/** SQL for FROM: the broker `b` that the device `d` belongs to. */
export function resolvedBrokerOf(sql: Sql): Fragment {
  return sql`
    left join lateral berth_resolved(d.uuid::text, d.mqtt_broker_id, d.provisioned_by_key_id, false) resolved on true
    left join mqtt_broker_config b on b.id = resolved.broker_id`;
}

/**
 * SQL for WITH RECURSIVE: `alike`, one row for each assignment, handed broker and handed settings that devices have, of which
 * devices can be behind. Steps through the index devices_handed_idx from group to group.
 */
export function groupsBehind(sql: Sql): Fragment {
  const next = (after: Fragment) => sql`
    (select ${groupOf(sql)} from devices d where (${groupOf(sql)}) > (${after}) order by ${groupOf(sql)} limit 1)`;
  return sql`
    every (assigned, handed, settings) as (
      ${next(sql`-1, 0, ''`)}
      union all
      select following.* from every cross join lateral ${next(sql`every.assigned, every.handed, every.settings`)} following
    ), alike as (
      select every.* from every
      left join lateral berth_resolved(null, nullif(every.assigned, 0), null, false) resolved on true
      left join mqtt_broker_config b on b.id = resolved.broker_id
      where every.handed <> 0 and (
        every.handed <> b.id or every.settings not in ('', b.settings_hash)
        -- Their provisioning keys can decide: then each device is looked at.
        or resolved.source is distinct from 'device'
           and exists (select from provisioning_keys k where k.default_broker_id is not null))
    )`;
}

/** SQL: what the groups are made of, as the index has it. */
export function groupOf(sql: Sql): Fragment {
  return sql`coalesce(d.mqtt_broker_id, 0), coalesce(d.handed_broker_id, 0), coalesce(d.handed_settings, '')`;
}
