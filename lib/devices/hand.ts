import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { log } from '../log.ts';
import { count } from '../metrics.ts';
import type { ResolvedBroker } from '../resolution/broker-row.ts';
import { settings } from '../settings/settings.ts';

/** What a device was last handed, and how long its former brokers accept it. */
export type HandedColumns = {
  handed_broker_id: number | null;
  handed_settings: string | null;
  /** Seconds; null: there is no former broker. */
  former_seconds_left: number | null;
};

/**
 * Records that a reply hands these settings to a device, if that is not recorded yet. The brokers that accepted the device
 * until now accept it for the grace period, or until it logs in at this one. The reply must be sent even if this fails: then
 * the broker that is recorded still accepts the device.
 *
 * @param holdsOthers the device has said that it holds other settings: it has not received these yet, so the grace period
 *   begins again when half of it has passed
 */
export async function handSettings(
  ctx: Context,
  device: { id: number } & HandedColumns,
  broker: ResolvedBroker,
  holdsOthers: boolean,
): Promise<void> {
  // MQTT_BROKER_URL has no row: brokers without a row cannot say who they are, and accept every device.
  if (broker.source === 'environment') return;
  const { id, settings_hash } = broker.row;
  const isRecorded = device.handed_broker_id === id && device.handed_settings === settings_hash;
  const graceSeconds = settings().formerBrokerHours * 3_600;
  const left = device.former_seconds_left ?? 0;
  if (isRecorded && !(holdsOthers && left > 0 && left < graceSeconds / 2)) return;
  try {
    await query(
      ctx,
      (sql) => sql`
        with former as (
          select array_agg(broker_id) as ids from mqtt_device_brokers
          where device_id = ${device.id} and reason <> 'resolved' and broker_id <> ${id}
        )
        update devices d
        set handed_broker_id = ${id}, handed_settings = ${settings_hash},
            handed_at = case when ${isRecorded} then d.handed_at else now() end,
            former_broker_ids = former.ids,
            former_until = case
              when former.ids is null then null
              when d.handed_broker_id = ${id} and not ${holdsOthers} then d.former_until
              else now() + make_interval(secs => ${graceSeconds}) end
        from former
        where d.id = ${device.id}`,
    );
  } catch (error) {
    log.warn('handed settings not recorded', { requestId: ctx.requestId, code: (error as { code?: unknown }).code });
    count('HandedNotRecorded');
  }
}
