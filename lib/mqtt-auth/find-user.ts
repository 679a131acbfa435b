import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { uuidInUsername } from '../devices/mqtt-reply.ts';
import {
  type BrokerColumns,
  getBrokerConfigForDevice,
  stepsOfDevice,
  withBrokerLookup,
} from '../resolution/resolve.ts';
import { settings } from '../settings/settings.ts';
import type { Acl } from './acl.ts';

/** An active row of mqtt_users, its ACLs, and the device that it is of, if it is a device's. */
export type MqttUser = {
  username: string;
  password_hash: string;
  is_superuser: boolean;
  acls: Acl[];
  /** Null: of no device. */
  device_uuid: string | null;
} & BrokerColumns;

export type Found = { user: MqttUser } | { refusal: string };

/**
 * The user behind an MQTT username, if it may be at the broker that asks.
 *
 * @param brokerId the broker's id; a device that resolves to another is refused, one that resolves to no row is not
 * @returns `refusal` says why not
 */
export async function findMqttUser(
  ctx: Context,
  username: string | undefined,
  brokerId: number | undefined,
): Promise<Found> {
  if (!username) return { refusal: 'no username' };
  const [user] = await withBrokerLookup(settings().mqttBrokerUrl, (lookup) => findUser(ctx, username, lookup));
  if (!user) return { refusal: 'unknown or inactive user' };
  const elsewhere = user.device_uuid !== null && user.broker !== null && user.broker.id !== brokerId;
  if (brokerId !== undefined && elsewhere) return { refusal: `its broker is number ${user.broker?.id}` };
  return { user };
}

function findUser(ctx: Context, username: string, lookup: boolean) {
  const uuid = uuidInUsername(username) ?? null;
  return query<MqttUser>(
    ctx,
    // A device is found by its uuid, which is indexed; its username may have another spelling of it.
    (sql) => sql`
      with device as (
        select uuid::text as uuid, coalesce(is_active, true) as is_active, mqtt_broker_id, provisioned_by_key_id
        from devices
        where uuid in (berth_uuid(${uuid}), berth_uuid(${uuid && folded(uuid)}))
          and coalesce(mqtt_username, 'device_' || uuid::text) = ${username}
      ), broker as (
        ${getBrokerConfigForDevice(sql, lookup ? stepsOfDevice(sql, sql`device`) : undefined)}
      )
      select u.username, u.password_hash, coalesce(u.is_superuser, false) as is_superuser,
             (select coalesce(json_agg(json_build_object('topic', topic, 'access', access)), '[]')
              from mqtt_acls where username = u.username) as acls,
             device.uuid as device_uuid, broker.broker_source, broker.broker
      from mqtt_users u left join device on true left join broker on true
      where u.username = ${username} and coalesce(u.is_active, true) and coalesce(device.is_active, true)`,
  );
}

/** A uuid as RFC 4122 spells it: the legacy service took upper case, braces and no dashes, and kept them in usernames. */
function folded(uuid: string): string {
  const hex = uuid.replace(/[{}-]/g, '').toLowerCase();
  return hex.replace(/^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/, '$1-$2-$3-$4-$5');
}
