import type { Fragment, Sql } from '../database/db.ts';

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
 * SQL for the number of devices that have no broker once this one is withdrawn. Where another is the active default,
 * that is none, without a look at the devices.
 *
 * @param broker SQL for what has its row (`is_active`, `is_default`) in FROM: a CTE that has locked it, or a subquery
 * @param moved SQL, a condition on devices `d` that are given another broker before
 */
export function leftWithout(sql: Sql, id: number, broker: Fragment, moved: Fragment = sql`false`): Fragment {
  return sql`
    (select count(*) from devices d
     where (select is_active and (is_default or not exists (
              select from mqtt_broker_config o where o.id <> ${id} and o.is_default and o.is_active)) from ${broker})
       and ${followsDefault(sql, id)}
       and ((select is_default from ${broker}) or d.mqtt_broker_id = ${id} or exists (
              select from provisioning_keys k where k.id = d.provisioned_by_key_id and k.default_broker_id = ${id}))
       and not (${moved}))::integer`;
}
