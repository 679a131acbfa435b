import * as z from 'zod/mini';
import type { Fragment, Sql } from '../database/db.ts';
import { BROKER_SOURCES, type ResolvedBroker } from '../resolution/broker-row.ts';
import { buildBrokerUrl } from '../resolution/client-config.ts';

/** A device as operators see it: {@link COLUMNS}, and those of the legacy service if it has written them. */
export const deviceReply = z.looseObject({
  id: z.int(),
  uuid: z.string(),
  device_name: z.nullable(z.string()),
  device_type: z.nullable(z.string()),
  fleet_id: z.nullable(z.string()),
  is_active: z.nullable(z.boolean()),
  mqtt_broker_id: z.nullable(z.int()),
  mqtt_broker_assigned_at: z.nullable(z.string()),
  mqtt_username: z.nullable(z.string()),
  region: z.nullable(z.string()),
  tags: z.nullable(z.record(z.string(), z.string())),
  created_at: z.nullable(z.string()),
  modified_at: z.nullable(z.string()),
});

export const resolvedBrokerReply = z.nullable(
  z.object({
    source: z.enum(BROKER_SOURCES),
    id: z.nullable(z.int()),
    name: z.nullable(z.string()),
    url: z.string(),
  }),
);

/** The columns of a device that operators see: not the hash of its key, not the salt of its password. */
const COLUMNS = [
  ...['id', 'uuid', 'device_name', 'device_type', 'fleet_id', 'is_active', 'mqtt_broker_id', 'mqtt_broker_assigned_at'],
  ...['mqtt_username', 'mqtt_client_id', 'provisioned_at', 'provisioned_by_key_id', 'created_at', 'modified_at'],
  ...['mac_address', 'os_version', 'supervisor_version', 'is_online', 'region', 'tags'],
];
/** The columns that only the legacy service and its agents write, with what they hold until then. */
const LEGACY_COLUMNS: Record<string, unknown> = {
  ...{ last_connectivity_event: null, last_vpn_event: null, ip_address: null, api_heartbeat_state: 'online' },
  ...{ memory_usage: null, memory_total: null, storage_usage: null, storage_total: null, cpu_usage: null },
  ...{ cpu_temp: null, cpu_id: null, is_undervolted: false, provisioning_progress: null, provisioning_state: null },
  ...{ status: 'idle', download_progress: null, logs_channel: null, api_key_expires_at: null },
  ...{ api_key_last_rotated_at: null, api_key_rotation_enabled: true, api_key_rotation_days: 90, top_processes: [] },
};
/** UTC without a time zone, as the legacy service made them. */
const UTC_COLUMNS = [
  ...['provisioned_at', 'created_at', 'modified_at', 'last_connectivity_event', 'last_vpn_event'],
  ...['api_key_expires_at', 'api_key_last_rotated_at'],
];
/** bigint and numeric: strings in the replies of the legacy service. */
const STRING_COLUMNS = ['memory_usage', 'memory_total', 'storage_usage', 'storage_total', 'cpu_usage', 'cpu_temp'];

export type DeviceRow = Record<string, unknown> & { id: number; uuid: string };

/** SQL: the row `alias` of devices as JSON, for {@link formatDevice}. */
export function deviceJson(sql: Sql, alias: string): Fragment {
  const columns = [...COLUMNS, ...Object.keys(LEGACY_COLUMNS)].map((column) => `${alias}.${column}`);
  return sql`(select row_to_json(shown) from (select ${sql(columns)}) shown)`;
}

/**
 * A row from {@link deviceJson} for a reply: times in ISO 8601 with `Z`, big numbers as strings. The columns of the legacy
 * service are all there, or none if nobody has written one of them.
 */
export function formatDevice(row: DeviceRow): DeviceRow {
  const device = { ...row };
  for (const column of UTC_COLUMNS) device[column] = iso(row[column], 'Z');
  device.mqtt_broker_assigned_at = iso(row.mqtt_broker_assigned_at, '');
  for (const column of STRING_COLUMNS) device[column] = row[column] === null ? null : String(row[column]);
  if (isWrittenByLegacy(row)) return device;
  return Object.fromEntries(Object.entries(device).filter(([name]) => !(name in LEGACY_COLUMNS))) as DeviceRow;
}

function isWrittenByLegacy(row: DeviceRow): boolean {
  const isWritten = ([name, empty]: [string, unknown]) =>
    row[name] !== null && JSON.stringify(row[name]) !== JSON.stringify(empty);
  return row.is_online === true || Object.entries(LEGACY_COLUMNS).some(isWritten);
}

function iso(time: unknown, zone: string): string | null {
  return typeof time === 'string' ? new Date(time + zone).toISOString() : null;
}

/** A resolved broker as operators see it: its source, id, name and address. */
export function formatResolvedBroker(broker: ResolvedBroker | undefined) {
  if (!broker) return null;
  if (broker.source === 'environment') return { source: broker.source, id: null, name: null, url: broker.url };
  return { source: broker.source, id: broker.row.id, name: broker.row.name, url: buildBrokerUrl(broker.row) };
}

/** SQL: the entity tag of the row `alias` of devices, without quotes. Every change by an operator changes it. */
export function deviceTag(sql: Sql, alias: string): Fragment {
  const columns = ['id', 'device_name', 'device_type', 'is_active', 'mqtt_broker_id', 'modified_at'];
  return sql`md5(row(${sql(columns.map((column) => `${alias}.${column}`))})::text)`;
}

/** SQL for FROM: the usernames of all MQTT users that the row `alias` of devices has or may have (`berth_mqtt_usernames`). */
export function usernamesOf(sql: Sql, alias: string): Fragment {
  return sql`berth_mqtt_usernames(${sql(`${alias}.uuid`)}::text, ${sql(`${alias}.mqtt_username`)})`;
}
