import type { Context } from '../context.ts';
import { deriveMqttPassword, newMqttPassword } from '../crypto/derive.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { hashAsLegacy } from '../crypto/legacy-hash.ts';
import { hashMqttPassword } from '../crypto/mqtt-password.ts';
import { query } from '../database/db.ts';
import { deviceInactive, deviceNotFound, Problem } from '../errors.ts';
import { recordEvents } from '../events/record.ts';
import { settings } from '../settings/settings.ts';
import { deviceTopic, mqttUsername } from './mqtt-reply.ts';

/** What a device connects with. */
export type Login = { username: string; password: string };
/** What is stored for a device, and the password, which is not stored. */
export type Credentials = { salt: string; password: string; passwordHash: string; keyHash: string };

type Device = { id: number; uuid: string; mqtt_username: string | null; mqtt_password_salt: string | null };

/** In place of a salt: an operator has ended the password, and the device has not asked for the next one yet. */
export const SALT_PENDING = 'pending';

/** Credentials under a new salt, ready to be stored. */
export async function newCredentials(deviceKey: string): Promise<Credentials> {
  const { peppers, mqttPasswordHash, keepLegacyHashes } = settings();
  const { salt, password } = newMqttPassword(peppers[0], deviceKey);
  const legacyHash = keepLegacyHashes ? await hashAsLegacy(deviceKey) : undefined;
  const keyHash = legacyHash ?? (hashCandidates(peppers, 'device-key', deviceKey)[0] as string);
  return { salt, password, passwordHash: await hashMqttPassword(password, mqttPasswordHash), keyHash };
}

/**
 * The MQTT password that a device has now, derived again from its key.
 * @returns undefined when Berth cannot know it: the legacy service made it or replaced the device key since, an operator ended
 *   it, or its pepper is gone
 */
export function currentPassword(
  { mqtt_password_salt: salt }: Pick<Device, 'mqtt_password_salt'>,
  deviceKey: string,
): string | undefined {
  return salt === null ? undefined : deriveMqttPassword(settings().peppers, deviceKey, salt);
}

/**
 * Gives a registered device new MQTT credentials: salt, user, ACL and event in one statement. All its earlier MQTT users end.
 * Of two concurrent renewals one wins, and both return its credentials. If one of its users was disabled, the new one is too:
 * only an operator enables it.
 * @throws Problem `device-not-found` or `device-inactive` when the device was deleted or deactivated meanwhile
 */
export async function renewCredentials(
  ctx: Context,
  device: Device,
  deviceKey: string,
  fresh: Credentials,
): Promise<Login> {
  const username = mqttUsername(device.uuid);
  const [outcome] = await query<{ renewed: boolean }>(
    ctx,
    (sql) => sql`
      with renewed as (
        update devices
        set mqtt_password_salt = ${fresh.salt}, mqtt_username = ${username}, modified_at = berth_now()
        where id = ${device.id} and mqtt_password_salt is not distinct from ${device.mqtt_password_salt}
          -- The statement may have waited for a deactivation.
          and is_active is not false
        returning id, fleet_id
      ), users as (
        select name from renewed, berth_mqtt_usernames(${device.uuid}, ${device.mqtt_username}) name
      ), old_user as (
        delete from mqtt_users where username in (select name from users) and username <> ${username}
        returning is_active
      ), mqtt_user as (
        insert into mqtt_users (username, password_hash, is_superuser, is_active, created_at, updated_at)
        select ${username}, ${fresh.passwordHash}, false, not exists (select from old_user where not is_active),
               berth_now(), berth_now()
        from renewed
        on conflict (username) do update
          set password_hash = excluded.password_hash, updated_at = excluded.updated_at,
              is_active = mqtt_users.is_active and excluded.is_active
      ), old_acl as (
        delete from mqtt_acls where username in (select name from users)
      ), acl as (
        insert into mqtt_acls (username, topic, access, priority, created_at)
        select ${username}, ${deviceTopic(username)}, 7, 0, berth_now() from renewed
      ), event as (
        ${recordEvents(
          sql,
          ctx,
          sql`
            select 'credentials-renewed' as type, ${device.uuid} as device_uuid, id as device_id, fleet_id, null as reason,
                   null::integer as from_broker_id, null::integer as to_broker_id
            from renewed`,
        )}
      )
      select exists (select from renewed) as renewed`,
  );
  if (outcome?.renewed) return { username, password: fresh.password };
  const [now] = await query<{ mqtt_password_salt: string | null; is_active: boolean | null }>(
    ctx,
    (sql) => sql`select mqtt_password_salt, is_active from devices where id = ${device.id}`,
  );
  if (!now) throw new Problem(deviceNotFound);
  if (now.is_active === false) throw new Problem(deviceInactive);
  const password = currentPassword(now, deviceKey);
  return password
    ? { username, password }
    : renewCredentials(ctx, { ...device, mqtt_password_salt: now.mqtt_password_salt }, deviceKey, fresh);
}
