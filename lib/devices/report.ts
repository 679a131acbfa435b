import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { recordEvents } from '../events/record.ts';
import type { Tags } from '../fields.ts';
import type { Registration } from './input.ts';

/** What a registered device has said of itself. */
export type ReportedColumns = {
  device_name: string | null;
  device_type: string | null;
  reported: {
    mac_address: string | null;
    os_version: string | null;
    supervisor_version: string | null;
    region: string | null;
    tags: Tags | null;
  } | null;
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
  if (changed.length === 0) return;
  const tags = storedTags(input);
  await query(
    ctx,
    (sql) => sql`
      with wanted as (
        select id, ${input.deviceName} as device_name, ${input.deviceType} as device_type,
               coalesce(${input.macAddress ?? null}, mac_address) as mac_address,
               coalesce(${input.osVersion ?? null}, os_version) as os_version,
               coalesce(${input.supervisorVersion ?? null}, supervisor_version) as supervisor_version,
               coalesce(${input.region ?? null}, region) as region,
               case when ${isSent(input.tags)} then ${tags && sql.json(tags)}::jsonb else tags end as tags
        from devices where id = ${device.id} for update
      ), changed as (
        update devices d
        set device_name = wanted.device_name, device_type = wanted.device_type, mac_address = wanted.mac_address,
            os_version = wanted.os_version, supervisor_version = wanted.supervisor_version, region = wanted.region,
            tags = wanted.tags, modified_at = berth_now()
        from wanted
        -- Another request, or an attempt of this one whose reply was lost, may have written the same.
        where d.id = wanted.id and
          (d.device_name, d.device_type, d.mac_address, d.os_version, d.supervisor_version, d.region, d.tags) is distinct from
          (wanted.device_name, wanted.device_type, wanted.mac_address, wanted.os_version, wanted.supervisor_version,
           wanted.region, wanted.tags)
        returning d.id, d.fleet_id
      )
      ${recordEvents(
        sql,
        ctx,
        sql`
          select 'updated' as type, ${device.uuid} as device_uuid, id as device_id, fleet_id,
                 ${`reported: ${changed.join(', ')}`} as reason,
                 null::integer as from_broker_id, null::integer as to_broker_id
          from changed`,
      )}`,
  );
}

/** The columns that a registration changes. */
function changes({ device_name, device_type, reported }: ReportedColumns, input: Registration): string[] {
  const { macAddress, osVersion, supervisorVersion, region, tags } = input;
  const pairs: [name: string, stored: unknown, sent: unknown][] = [
    ['device_name', device_name, input.deviceName],
    ['device_type', device_type, input.deviceType],
    ['mac_address', reported?.mac_address, macAddress],
    ['os_version', reported?.os_version, osVersion],
    ['supervisor_version', reported?.supervisor_version, supervisorVersion],
    ['region', reported?.region, region],
  ];
  const names = pairs.filter(([, stored, sent]) => sent !== undefined && sent !== stored).map(([name]) => name);
  return isSent(tags) && !isSame(reported?.tags ?? {}, tags) ? [...names, 'tags'] : names;
}

const isSent = (tags: Tags | null | undefined): tags is Tags => tags !== undefined && tags !== null;

function isSame(stored: Tags, sent: Tags): boolean {
  const names = Object.keys(sent);
  return names.length === Object.keys(stored).length && names.every((name) => stored[name] === sent[name]);
}
