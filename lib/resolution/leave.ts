import type { Fragment, Sql } from '../database/db.ts';
import { getDefaultBrokerConfig } from './resolve.ts';

/**
 * SQL for SET in `update devices d`, when an operator changes the assignment of `d`: the broker that the device was handed
 * keeps accepting it. A row that does not say which one that was gets it here: after the move nobody can tell.
 */
export function leaveBroker(sql: Sql): Fragment {
  return sql`
    handed_broker_id = coalesce(d.handed_broker_id, case when d.handed_at is null then
      berth_presumed_broker(d.uuid::text, d.mqtt_broker_id, d.provisioned_by_key_id, coalesce(d.provisioned_at, d.created_at))
    end),
    handed_left_at = case
      when coalesce(d.handed_broker_id = coalesce(d.mqtt_broker_id, ${getDefaultBrokerConfig(sql)}), true) then now()
      else d.handed_left_at end`;
}

/** SQL for SET in `update devices d`: from now on, only the broker that the device resolves to accepts it. */
export function closeFormer(sql: Sql): Fragment {
  return sql`former_closed_at = now(), former_broker_ids = null, former_until = null`;
}
