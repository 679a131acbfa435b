import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { recordEvents } from '../events/record.ts';
import type { Tags } from '../fields.ts';
import type { Registration } from './input.ts';

/** What a registered device has said of itself. */
export type ReportedColumns = {
  device_name: string | null;
  device_type: string | null;
  mac_address: string | null;
  os_version: string | null;
  supervisor_version: string | null;
  region: string | null;
  tags: Tags | null;
};

/** The tags of a registration as they are stored: none are NULL, which no index contains. */
export function storedTags({ tags }: Registration): Tags | null {
  return tags && Object.keys(tags).length > 0 ? tags : null;
}

/**
 * Records what a device says of itself when it registers again, and an event that names what has changed. What it does not
 * say stays as it is. Without a change there is no statement.
 */
export async function recordReported(
  ctx: Context,
  device: { id: number; uuid: string } & ReportedColumns,
  input: Registration,
): Promise<void> {
  const changed = changes(device, input);
  const names = Object.keys(changed).join(', ');
  if (names === '') return;
  await query(ctx, (sql) => {
    const { tags } = changed;
    const values = { ...changed, ...(tags ? { tags: sql.json(tags) } : {}), modified_at: sql`berth_now()` };
    // A fragment, because postgres.js reads in the preceding SQL text which kind of list to write.
    const update = sql`update devices set ${sql(values as never)}`;
    return sql`
      with changed as (
        ${update}
        -- Another request, or an attempt of this one whose reply was lost, may have written the same.
        where id = ${device.id} and to_jsonb(devices) || ${sql.json(changed as never)}::jsonb <> to_jsonb(devices)
        returning id, fleet_id
      )
      ${recordEvents(
        sql,
        ctx,
        sql`select 'updated' as type, ${device.uuid} as device_uuid, id as device_id, fleet_id, ${`reported: ${names}`} as reason,
                   null::integer as from_broker_id, null::integer as to_broker_id from changed`,
      )}`;
  });
}

/** The columns that a registration changes, with their new values. */
function changes(device: ReportedColumns, input: Registration): Partial<ReportedColumns> {
  const changed: Partial<ReportedColumns> = {};
  const compare = (column: Exclude<keyof ReportedColumns, 'tags'>, sent: string | undefined) => {
    if (sent !== undefined && sent !== device[column]) changed[column] = sent;
  };
  compare('device_name', input.deviceName);
  compare('device_type', input.deviceType);
  compare('mac_address', input.macAddress);
  compare('os_version', input.osVersion);
  compare('supervisor_version', input.supervisorVersion);
  compare('region', input.region);
  if (input.tags && !isSame(device.tags ?? {}, input.tags)) changed.tags = storedTags(input);
  return changed;
}

function isSame(stored: Tags, sent: Tags): boolean {
  const names = Object.keys(sent);
  return names.length === Object.keys(stored).length && names.every((name) => stored[name] === sent[name]);
}
