import type { Fragment, Sql } from '../db.ts';

/**
 * SQL, a condition on devices `d`: only the default broker is left for it, because neither its assignment
 * nor its provisioning key names an active broker.
 *
 * @param without the id of a broker to leave out of account, as if it were gone
 */
export function followsDefault(sql: Sql, without: number | null = null): Fragment {
  const counts = sql`b.is_active and b.id is distinct from ${without}::integer`;
  return sql`
    (not exists (select from mqtt_broker_config b where b.id = d.mqtt_broker_id and ${counts})
     and not exists (
       select from provisioning_keys k join mqtt_broker_config b on b.id = k.default_broker_id
       where k.id = d.provisioned_by_key_id and ${counts}))`;
}

/**
 * SQL, a condition on devices `d`: nothing but this broker leads it to one. Where there is another active default broker
 * nobody needs another, which {@link maybeNeeded} says without a look at the devices.
 */
export function needs(sql: Sql, id: number): Fragment {
  return sql`
    (${followsDefault(sql, id)} and (
      exists (select from mqtt_broker_config b where b.id = ${id} and b.is_default)
      or d.mqtt_broker_id = ${id}
      or exists (select from provisioning_keys k where k.id = d.provisioned_by_key_id and k.default_broker_id = ${id})))`;
}

/** SQL, a condition: the broker is active, and no other is the active default. */
export function maybeNeeded(sql: Sql, id: number): Fragment {
  return sql`
    (exists (select from mqtt_broker_config b where b.id = ${id} and b.is_active)
     and not exists (select from mqtt_broker_config b where b.id <> ${id} and b.is_default and b.is_active))`;
}
