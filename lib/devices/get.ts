import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { deviceNotFound, Problem } from '../errors.ts';
import { isBehind, resolvedBrokerOf } from '../resolution/behind.ts';
import { explainResolution, type ResolutionStep } from '../resolution/explain.ts';
import { formatHanded, type Handed } from './follows.ts';
import { type DeviceRow, deviceJson, deviceTag, formatDevice, formatResolvedBroker } from './row.ts';

type Row = {
  device: DeviceRow;
  mqtt_username: string | null;
  tag: string;
  steps: ResolutionStep[];
  handed: Handed;
  is_behind: boolean;
};

/**
 * A device with its resolution explained: what each step found, why it was taken or skipped, and whether another default
 * broker would move this device.
 * @throws Problem `device-not-found`
 */
export async function getDevice(ctx: Context, uuid: string) {
  const [row] = await query<Row>(
    ctx,
    (sql) => sql`
      with device as (
        select * from devices where uuid = berth_uuid(${uuid})
      ), steps as (
        select step.*, b.client_settings as broker
        from device
        cross join lateral berth_resolve(device.uuid::text, device.mqtt_broker_id, device.provisioned_by_key_id, false) step
        left join mqtt_broker_config b on b.id = step.broker_id
      )
      select ${deviceJson(sql, 'd')} as device, ${deviceTag(sql, 'd')} as tag,
             -- The legacy service does not write it into the row.
             coalesce(d.mqtt_username, berth_mqtt_username(d.uuid::text)) as mqtt_username,
             (select json_agg(steps order by number) from steps) as steps,
             json_build_object(
               'broker_id', d.handed_broker_id, 'version', d.handed_settings, 'at', d.handed_at,
               'is_used', d.former_broker_ids is null) as handed,
             ${isBehind(sql)} as is_behind
      from device d ${resolvedBrokerOf(sql)}`,
  );
  if (!row) throw new Problem(deviceNotFound);
  const { broker, steps, ifDefaultChanges } = explainResolution(row.steps);
  const body = {
    device: formatDevice({ ...row.device, mqtt_username: row.mqtt_username }),
    resolved_broker: formatResolvedBroker(broker),
    explain: steps,
    if_default_changes: ifDefaultChanges,
    ...formatHanded(row.handed, row.is_behind, broker),
  };
  return { body, tag: row.tag };
}
