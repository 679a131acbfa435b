import { randomBytes } from 'node:crypto';
import type { Context } from '../context.ts';
import { hashMqttPassword } from '../crypto/mqtt-password.ts';
import { query } from '../database/db.ts';
import { deviceNotFound, Problem } from '../errors.ts';
import { settings } from '../settings/settings.ts';
import { SALT_PENDING } from './credentials.ts';

/**
 * Ends a device's MQTT password at once. The next one is derived from the device's key, which only the
 * device has: it gets it when it asks for its broker or registers again.
 * @throws Problem `device-not-found`
 */
export async function rotateCredentials(ctx: Context, uuid: string) {
  // A hash of a password that nobody knows: well-formed for brokers, and nothing fits it.
  const unusable = await hashMqttPassword(randomBytes(32).toString('base64url'), settings().mqttPasswordHash);
  const [row] = await query<{ rotated: boolean }>(
    ctx,
    (sql) => sql`
      with rotated as (
        update devices set mqtt_password_salt = ${SALT_PENDING}, modified_at = now() at time zone 'utc'
        where uuid = berth_uuid(${uuid})
        returning fleet_id, mqtt_username
      ), mqtt_user as (
        update mqtt_users set password_hash = ${unusable}, updated_at = now() at time zone 'utc'
        where username in (select mqtt_username from rotated)
      ), event as (
        insert into device_events (type, device_uuid, fleet_id, actor, source_ip, request_id)
        select 'credentials-revoked', ${uuid}, fleet_id, ${ctx.actor}, ${ctx.sourceIp}, ${ctx.requestId} from rotated
      )
      select exists (select from rotated) as rotated`,
  );
  if (!row?.rotated) throw new Problem(deviceNotFound);
  return {
    status: 'ok',
    message:
      'The MQTT password has ended; the device gets a new one from GET /device/{uuid}/mqtt or by registering again',
    uuid,
  };
}
