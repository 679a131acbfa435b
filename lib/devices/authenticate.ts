import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { authenticationFailed, deviceInactive, deviceNotFound, Problem } from '../errors.ts';
import { type BrokerColumns, getBrokerConfigForDevice, withBrokerLookup } from '../resolution/resolve.ts';
import type { HandedColumns } from './hand.ts';
import { refusal } from './refuse.ts';
import { secondsBlockedByGuesses, verifyDeviceKey } from './verify-key.ts';

export type AuthenticatedDevice = {
  id: number;
  uuid: string;
  device_name: string | null;
  fleet_id: string | null;
  is_active: boolean | null;
  device_api_key_hash: string | null;
  blocked_seconds: number | null;
  /** Null: it has no MQTT user. */
  mqtt_username: string | null;
  mqtt_password_salt: string | null;
} & HandedColumns &
  BrokerColumns;

/**
 * The device with this uuid and key, and the broker that it belongs to now.
 * @throws Problem `device-not-found`, `authentication-failed` (`too-many-requests` past the limit), `device-inactive`
 */
export async function authenticateDevice(ctx: Context, uuid: string, key: string): Promise<AuthenticatedDevice> {
  ctx.actor = `device:${uuid}`;
  const device = await withBrokerLookup((lookup) => findDevice(ctx, uuid, lookup));
  if (!device) throw new Problem(deviceNotFound);
  const who = { uuid, fleetId: device.fleet_id };
  const isItsKey = await verifyDeviceKey(ctx, key, device);
  if (!isItsKey) throw await refusal(ctx, new Problem(authenticationFailed), who);
  if (device.is_active === false) throw await refusal(ctx, new Problem(deviceInactive), who);
  return device;
}

async function findDevice(ctx: Context, uuid: string, lookup: boolean): Promise<AuthenticatedDevice | undefined> {
  const [device] = await query<AuthenticatedDevice>(
    ctx,
    (sql) => sql`
      with device as (
        select id, uuid::text as uuid, device_name, fleet_id, is_active, device_api_key_hash,
               coalesce(mqtt_username, berth_mqtt_username(uuid::text)) as mqtt_username, mqtt_password_salt,
               mqtt_broker_id, provisioned_by_key_id, false as is_new, handed_broker_id, handed_settings,
               extract(epoch from former_until - now())::float8 as former_seconds_left,
               ${secondsBlockedByGuesses(sql, uuid)} as blocked_seconds
        from devices where uuid = berth_uuid(${uuid})
      ), broker as (
        ${getBrokerConfigForDevice(sql, sql`device`, lookup)}
      )
      select device.*, broker.broker_source, broker.broker from device left join broker on true`,
  );
  return device;
}
