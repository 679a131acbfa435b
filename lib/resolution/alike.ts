import type { Fragment, Sql } from '../database/db.ts';

/** In the place of a device's provisioning key that is NULL. */
export const NO_KEY = '00000000-0000-0000-0000-000000000000';

/**
 * SQL for FROM: devices `d`, counted by what decides their resolution, so that few resolutions stand for a million devices.
 * One row mqtt_broker_id, provisioned_by_key_id, devices for the devices that are alike.
 */
export function devicesAlike(sql: Sql, condition: Fragment): Fragment {
  return sql`
    (select d.mqtt_broker_id, d.provisioned_by_key_id, count(*) as devices
     from devices d where ${condition}
     group by d.mqtt_broker_id, d.provisioned_by_key_id)`;
}

/** SQL: what decides the resolution of `d`, a device or a row of {@link devicesAlike}, without NULL: for IN. */
export function kindOf(sql: Sql): Fragment {
  return sql`coalesce(d.mqtt_broker_id, 0), coalesce(d.provisioned_by_key_id, ${NO_KEY}::uuid)`;
}
