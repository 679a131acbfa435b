import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { violates } from '../database/violates.ts';
import { brokerNotFound, deviceNotFound, nothingToUpdate, Problem, preconditionFailed } from '../errors.ts';
import { isRepeated, recordEvents } from '../events/record.ts';
import { optionalText, requiredText, rowId } from '../fields.ts';
import { closeFormer, leaveBroker } from '../resolution/leave.ts';
import { type BrokerColumns, getBrokerConfigForDevice, resolvedBroker } from '../resolution/resolve.ts';
import { type Target, targetProblem } from '../resolution/target.ts';
import { type DeviceRow, deviceJson, deviceTag, formatDevice, formatResolvedBroker, usernamesOf } from './row.ts';

export const updateDeviceBody = z.strictObject({
  mqtt_broker_id: z.optional(z.nullable(rowId('The broker to assign; null: follow the default broker'))),
  device_name: z.optional(requiredText(255, 'Name for people')),
  device_type: z.optional(requiredText(100, 'Kind of device')),
  fleet_id: z.optional(requiredText(100, 'Its fleet. It stays registered with the provisioning key of its old one')),
  is_active: z.optional(z.boolean().check(z.meta({ description: 'false: its MQTT user stops working immediately' }))),
  close_former: z.optional(
    z
      .boolean()
      .check(
        z.meta({ description: 'true: the broker that it was handed before refuses it, even if it knows no other one' }),
      ),
  ),
  reason: optionalText(1000, 'Why, for the record'),
});
export type DeviceUpdate = z.output<typeof updateDeviceBody>;

type Outcome = {
  found: boolean;
  tag_matches: boolean | null;
  /** Null: the broker to assign does not exist, or none is to be assigned. */
  target: Target | null;
  /** Null: the request is refused. */
  device: DeviceRow | null;
  tag: string | null;
} & BrokerColumns;

/**
 * Changes a device: {@link assignBrokerToDevice}, its name, type and fleet, whether it may connect. One statement together with
 * the events that record it.
 *
 * @param tags the entity tags of If-Match without quotes; undefined: whatever the device is now
 * @returns the device, the broker it resolves to, and its new tag
 * @throws Problem `nothing-to-update`, `device-not-found`, `precondition-failed`, `broker-not-found`, `broker-inactive`,
 *   `broker-draining`
 */
export async function updateDevice(ctx: Context, uuid: string, update: DeviceUpdate, tags?: string[]) {
  const { reason, close_former, ...changes } = update;
  const closes = close_former === true;
  if (!closes && Object.values(changes).every((value) => value === undefined)) throw new Problem(nothingToUpdate);
  const assigns = update.mqtt_broker_id !== undefined;
  const brokerId = update.mqtt_broker_id ?? null;
  const [outcome] = await query<Outcome>(
    ctx,
    (sql, failure) => sql`
      with before as (
        select * from devices where uuid = berth_uuid(${uuid}) for update
      ), repeated as (
        select ${isRepeated(sql, ctx, failure, uuid)} as is_repeated from before
      ), tag as (
        select is_repeated or ${tags === undefined} or ${deviceTag(sql, 'before')} = any(${tags ?? []}::text[]) as matches
        from before, repeated
      ), target as (
        select id, refusal from mqtt_broker_config where id = ${brokerId}
      ), wanted as (
        select id, case when ${assigns} then ${brokerId}::integer else mqtt_broker_id end as mqtt_broker_id,
               coalesce(${update.device_name ?? null}, device_name) as device_name,
               coalesce(${update.device_type ?? null}, device_type) as device_type,
               coalesce(${update.fleet_id ?? null}, fleet_id) as fleet_id,
               coalesce(${update.is_active ?? null}, is_active) as is_active
        from before
      ), allowed as (
        -- Assigning the broker that the device has already is allowed, whatever that broker accepts.
        select wanted.* from wanted, before, tag, repeated
        where tag.matches and not is_repeated and (
          wanted.mqtt_broker_id is not distinct from before.mqtt_broker_id or wanted.mqtt_broker_id is null
          or exists (select from target where refusal is null))
      ), changed as (
        -- Without a difference the row keeps its tag: a repeat of it must still match.
        update devices d
        set mqtt_broker_id = allowed.mqtt_broker_id, device_name = allowed.device_name,
            device_type = allowed.device_type, fleet_id = allowed.fleet_id, is_active = allowed.is_active,
            mqtt_broker_assigned_at = case
              when d.mqtt_broker_id is distinct from allowed.mqtt_broker_id then now()
              else d.mqtt_broker_assigned_at end,
            modified_at = case
              when (d.mqtt_broker_id, d.device_name, d.device_type, d.fleet_id, d.is_active) is distinct from
                   (allowed.mqtt_broker_id, allowed.device_name, allowed.device_type, allowed.fleet_id, allowed.is_active)
              then berth_now()
              else d.modified_at end
            ${assigns ? sql`, ${leaveBroker(sql)}` : sql``}
            ${closes ? sql`, ${closeFormer(sql)}` : sql``}
        from allowed
        where d.id = allowed.id
        returning d.*
      ), device as (
        select * from changed union all select before.* from before, repeated where is_repeated
      ), mqtt_user as (
        update mqtt_users u set is_active = changed.is_active, updated_at = berth_now()
        from changed, ${usernamesOf(sql, 'changed')} name
        where ${update.is_active !== undefined} and u.username = name
          and u.is_active is distinct from changed.is_active
      ), difference as (
        select type, ${uuid} as device_uuid, changed.id as device_id, changed.fleet_id, ${reason ?? null} as reason,
               case when type = 'moved' then before.mqtt_broker_id end as from_broker_id,
               case when type = 'moved' then changed.mqtt_broker_id end as to_broker_id
        from changed, before, unnest(array[
          case when changed.mqtt_broker_id is distinct from before.mqtt_broker_id then 'moved' end,
          case when changed.is_active is distinct from before.is_active
               then case when changed.is_active then 'activated' else 'deactivated' end end,
          case when changed.fleet_id is distinct from before.fleet_id then 'fleet-changed' end,
          case when ${closes} or (changed.device_name, changed.device_type) is distinct from (before.device_name, before.device_type)
               then 'updated' end
        ]) type
        where type is not null
      ), event as (
        ${recordEvents(sql, ctx, sql`select * from difference`)}
      ), broker as (
        ${getBrokerConfigForDevice(sql, sql`(select *, false as is_new from device)`, true)}
      )
      select exists (select from before) as found,
             (select matches from tag) as tag_matches,
             (select row_to_json(target) from target) as target,
             (select ${deviceJson(sql, 'device')} from device) as device,
             (select ${deviceTag(sql, 'device')} from device) as tag,
             (select broker_source from broker) as broker_source,
             (select broker from broker) as broker`,
  ).catch(throwIfBrokerIsGone);
  const { found, tag_matches, target, device, tag } = outcome as Outcome;
  if (!found) throw new Problem(deviceNotFound);
  if (!tag_matches) throw new Problem(preconditionFailed);
  if (!device || !tag) throw targetProblem(target);
  const broker = resolvedBroker(outcome as Outcome);
  return { body: { device: formatDevice(device), resolved_broker: formatResolvedBroker(broker) }, tag };
}

/** The broker was deleted while the statement ran. */
function throwIfBrokerIsGone(error: unknown): never {
  throw violates(error, 'foreign-key') ? new Problem(brokerNotFound) : error;
}

/** Moves a device to a broker, or with null back to the default broker. See {@link updateDevice}. */
export function assignBrokerToDevice(ctx: Context, uuid: string, brokerId: number | null, reason?: string) {
  return updateDevice(ctx, uuid, { mqtt_broker_id: brokerId, reason });
}
