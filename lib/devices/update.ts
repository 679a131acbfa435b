import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import {
  brokerDraining,
  brokerInactive,
  brokerNotFound,
  deviceNotFound,
  nothingToUpdate,
  Problem,
  preconditionFailed,
} from '../errors.ts';
import { optionalText, requiredText, rowId } from '../fields.ts';
import { type BrokerColumns, getBrokerConfigForDevice, resolvedBroker, stepsOfDevice } from '../resolution/resolve.ts';
import { settings } from '../settings/settings.ts';
import { type DeviceRow, deviceJson, deviceTag, formatDevice, formatResolvedBroker } from './row.ts';

export const updateDeviceBody = z.strictObject({
  mqtt_broker_id: z.optional(z.nullable(rowId('The broker to assign; null: whatever the default is'))),
  device_name: z.optional(requiredText(255, 'Name for people')),
  device_type: z.optional(requiredText(100, 'Kind of device')),
  is_active: z.optional(z.boolean().check(z.meta({ description: 'false: its MQTT user stops working at once' }))),
  reason: optionalText(1000, 'Why, for the record'),
});
export type DeviceUpdate = z.output<typeof updateDeviceBody>;

type Outcome = {
  found: boolean;
  tag_matches: boolean | null;
  target_active: boolean | null;
  target_open: boolean | null;
  device: DeviceRow | null;
  tag: string | null;
} & BrokerColumns;

/**
 * Changes a device: {@link assignBrokerToDevice}, its name and type, whether it may connect. One statement
 * with the events that record it.
 *
 * @param tags the entity tags of If-Match without quotes, `*` for any; undefined: whatever it is now
 * @returns the device, the broker it resolves to, and its new tag
 * @throws Problem `nothing-to-update`, `device-not-found`, `precondition-failed`, `broker-not-found`,
 *   `broker-inactive`, `broker-draining`
 */
export async function updateDevice(ctx: Context, uuid: string, update: DeviceUpdate, tags?: string[]) {
  const { reason: _, ...changes } = update;
  if (Object.values(changes).every((value) => value === undefined)) throw new Problem(nothingToUpdate);
  const [outcome] = await query<Outcome>(ctx, updateStatement(ctx, uuid, update, tags));
  const { found, tag_matches, target_active, target_open, device, tag } = outcome as Outcome;
  if (!found) throw new Problem(deviceNotFound);
  if (!tag_matches) throw new Problem(preconditionFailed);
  if (!device || !tag) {
    if (target_active === null) throw new Problem(brokerNotFound);
    throw new Problem(target_active && !target_open ? brokerDraining : brokerInactive);
  }
  const broker = resolvedBroker(outcome as Outcome, settings().mqttBrokerUrl);
  return { body: { device: formatDevice(device), resolved_broker: formatResolvedBroker(broker) }, tag };
}

/** Moves a device to a broker, or with null back to whatever the default is. See {@link updateDevice}. */
export function assignBrokerToDevice(ctx: Context, uuid: string, brokerId: number | null, reason?: string) {
  return updateDevice(ctx, uuid, { mqtt_broker_id: brokerId, reason });
}

function updateStatement(ctx: Context, uuid: string, update: DeviceUpdate, tags: string[] | undefined) {
  const brokerId = update.mqtt_broker_id ?? null;
  const assigns = update.mqtt_broker_id !== undefined;
  return (sql: Sql) => sql<Outcome[]>`
    with before as (
      select * from devices where uuid = berth_uuid(${uuid}) for update
    ), tag as (
      select ${tags === undefined || tags.includes('*')} or ${deviceTag(sql, 'before')}
             = any(string_to_array(${tags?.join(',') ?? ''}, ',')) as matches
      from before
    ), target as (
      select id, coalesce(is_active, false) as is_active, accepts_new_devices
      from mqtt_broker_config where id = ${brokerId}
    ), changed as (
      update devices d
      set mqtt_broker_id = case when ${assigns} then ${brokerId}::integer else d.mqtt_broker_id end,
          mqtt_broker_assigned_at = case
            when ${assigns} and d.mqtt_broker_id is distinct from ${brokerId}::integer then now()
            else d.mqtt_broker_assigned_at end,
          device_name = coalesce(${update.device_name ?? null}, d.device_name),
          device_type = coalesce(${update.device_type ?? null}, d.device_type),
          is_active = coalesce(${update.is_active ?? null}, d.is_active),
          modified_at = now() at time zone 'utc'
      from before
      where d.id = before.id
        and (select matches from tag)
        and (not ${assigns} or ${brokerId}::integer is not distinct from before.mqtt_broker_id
             or ${brokerId}::integer is null
             or exists (select from target where is_active and accepts_new_devices))
      returning d.*
    ), mqtt_user as (
      update mqtt_users u
      set is_active = changed.is_active, updated_at = now() at time zone 'utc'
      from changed where u.username = changed.mqtt_username and u.is_active is distinct from changed.is_active
    ), event as (
      insert into device_events
        (type, device_uuid, fleet_id, actor, reason, from_broker_id, to_broker_id, source_ip, request_id)
      select type, ${uuid}, changed.fleet_id, ${ctx.actor}, ${update.reason ?? null},
             case when type = 'moved' then before.mqtt_broker_id end,
             case when type = 'moved' then changed.mqtt_broker_id end, ${ctx.sourceIp}, ${ctx.requestId}
      from changed, before, unnest(array[
        case when changed.mqtt_broker_id is distinct from before.mqtt_broker_id then 'moved' end,
        case when changed.is_active is distinct from before.is_active
             then case when changed.is_active then 'activated' else 'deactivated' end end,
        case when (changed.device_name, changed.device_type) is distinct from (before.device_name, before.device_type)
             then 'updated' end
      ]) type
      where type is not null
    ), broker as (
      ${getBrokerConfigForDevice(sql, stepsOfDevice(sql, sql`changed`))}
    )
    select exists (select from before) as found,
           (select matches from tag) as tag_matches,
           (select is_active from target) as target_active,
           (select accepts_new_devices from target) as target_open,
           (select ${deviceJson(sql, 'changed')} from changed) as device,
           (select ${deviceTag(sql, 'changed')} from changed) as tag,
           (select broker_source from broker) as broker_source,
           (select broker from broker) as broker`;
}
