import { randomBytes } from 'node:crypto';
import type { Context } from '../context.ts';
import { hashMqttPassword } from '../crypto/mqtt-password.ts';
import { query } from '../database/db.ts';
import { deviceNotFound, Problem } from '../errors.ts';
import { isRepeated, recordEvents } from '../events/record.ts';
import { settings } from '../settings/settings.ts';
import { SALT_PENDING } from './credentials.ts';
import { usernamesOf } from './row.ts';

/**
 * Ends a device's MQTT password immediately, for all its MQTT users. The next one is derived from the device key, which only
 * the device has: the device gets it when it asks for its broker or registers again.
 * @throws Problem `device-not-found`
 */
export async function rotateCredentials(ctx: Context, uuid: string) {
  // The hash of a password that nobody knows: brokers can read it, and no password matches it.
  const unusable = await hashMqttPassword(randomBytes(32).toString('base64url'), settings().mqttPasswordHash);
  const [row] = await query<{ found: boolean }>(
    ctx,
    (sql, failure) => sql`
      with device as (
        select id from devices where uuid = berth_uuid(${uuid}) for update
      ), due as (
        -- A repeat would end a password that the device got in the meantime.
        select id from device where not ${isRepeated(sql, ctx, failure, uuid)}
      ), rotated as (
        update devices d set mqtt_password_salt = ${SALT_PENDING}, modified_at = berth_now()
        from due where d.id = due.id
        returning d.id, d.uuid, d.fleet_id, d.mqtt_username
      ), mqtt_user as (
        update mqtt_users set password_hash = ${unusable}, updated_at = berth_now()
        where username in (select name from rotated, ${usernamesOf(sql, 'rotated')} name)
      ), event as (
        ${recordEvents(
          sql,
          ctx,
          sql`
            select 'credentials-revoked' as type, ${uuid} as device_uuid, id as device_id, fleet_id, null as reason,
                   null::integer as from_broker_id, null::integer as to_broker_id
            from rotated`,
        )}
      )
      select exists (select from device) as found`,
  );
  if (!row?.found) throw new Problem(deviceNotFound);
  return {
    status: 'ok',
    message:
      'The MQTT password has ended; the device gets a new one from GET /device/{uuid}/mqtt or by registering again',
    uuid,
  };
}
