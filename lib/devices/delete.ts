import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { deviceNotFound, Problem } from '../errors.ts';
import { isRepeated, recordEvents } from '../events/record.ts';
import { usernamesOf } from './row.ts';

/**
 * Deletes a device with its MQTT users and ACLs, which stop working immediately, and gives its place on the provisioning key
 * back. Its events stay. It may register again.
 * @throws Problem `device-not-found`
 */
export async function deleteDevice(ctx: Context, uuid: string) {
  const [row] = await query<{ deleted: boolean }>(
    ctx,
    (sql, failure) => sql`
      with deleted as (
        -- After a repeat, the device may have registered again.
        delete from devices where uuid = berth_uuid(${uuid}) and not ${isRepeated(sql, ctx, failure, uuid)}
        returning id, uuid, fleet_id, provisioned_by_key_id, mqtt_broker_id, mqtt_username
      ), users as (
        select name from deleted, ${usernamesOf(sql, 'deleted')} name
      ), mqtt_user as (
        delete from mqtt_users where username in (select name from users)
      ), acl as (
        delete from mqtt_acls where username in (select name from users)
      ), place as (
        update provisioning_keys set devices_provisioned = greatest(devices_provisioned - 1, 0)
        where id in (select provisioned_by_key_id from deleted)
      ), event as (
        ${recordEvents(
          sql,
          ctx,
          sql`
            select 'deleted' as type, ${uuid} as device_uuid, id as device_id, fleet_id, null as reason,
                   mqtt_broker_id as from_broker_id, null::integer as to_broker_id
            from deleted`,
        )}
      )
      select case when exists (select from deleted) then true
                  else ${isRepeated(sql, ctx, failure, uuid)} end as deleted`,
  );
  if (!row?.deleted) throw new Problem(deviceNotFound);
  return { status: 'ok', message: 'Device deleted', uuid };
}
