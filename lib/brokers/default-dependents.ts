import type { Fragment, Sql } from '../database/db.ts';
import { devicesAlike } from '../resolution/alike.ts';

/**
 * SQL: the number of devices that have no broker once broker `id` is withdrawn. Zero, without a look at the devices, while
 * the broker is inactive or another one is the active default.
 *
 * @param broker SQL for FROM: its row with is_active and is_default, locked by a CTE or read by a subquery
 * @param moved whether the devices that are assigned to it get another broker first
 */
export function leftWithout(sql: Sql, id: number, broker: Fragment, moved = false): Fragment {
  const isLastWay = sql`
    (select is_active and (is_default or not exists (
       select from mqtt_broker_config other where other.id <> ${id} and other.is_default and other.is_active))
     from ${broker})`;
  // A default step leads to this broker or nowhere, and the locked row knows better than the snapshot which of the two.
  return sql`
    (select coalesce(sum(alike.devices), 0)
     from ${devicesAlike(sql, sql`${isLastWay} and not (${moved} and d.mqtt_broker_id is not distinct from ${id})`)} alike
     cross join lateral (
       select coalesce(bool_or(step.source <> 'default' and step.usable and step.broker_id <> ${id}), false) as has_another,
              coalesce(bool_or(step.broker_id = ${id}), false) as is_led_here
       from berth_resolve(null, alike.mqtt_broker_id, alike.provisioned_by_key_id, false) step
     ) ways
     where not ways.has_another and (ways.is_led_here or (select is_default from ${broker})))::integer`;
}
