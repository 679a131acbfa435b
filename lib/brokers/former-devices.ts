import type { Fragment, Sql } from '../database/db.ts';

/**
 * SQL: whether the device `d`, if it belongs to another broker, may use the broker `b` as the view mqtt_device_brokers says.
 * For the devices of one broker: the view would look at every broker for each device.
 */
export function mayUseAsFormer(sql: Sql): Fragment {
  return sql`(
    (d.handed_broker_id = b.id or b.id = any(d.former_broker_ids) or d.handed_broker_id is null)
    and b.refusal is distinct from 'inactive' and berth_former_reason(
      b.id, b.closed_to_former_at, b.default_until, d.mqtt_broker_id, d.mqtt_broker_assigned_at,
      coalesce(d.provisioned_at, d.created_at), d.handed_broker_id, d.handed_at, d.handed_left_at, d.former_broker_ids,
      d.former_until, d.former_closed_at) is not null)`;
}
