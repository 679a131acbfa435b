import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { invalidRequest, Problem } from '../errors.ts';
import {
  booleanText,
  integerText,
  MAX_INTEGER,
  pageQuery,
  parseTags,
  requiredText,
  tagsText,
  text,
} from '../fields.ts';
import { type Conditions, pageOf, pageOfBehind } from './list-page.ts';
import { formatDevice } from './row.ts';
import { searchDevices, taggedDevices } from './search.ts';

export const listDevicesQuery = z.strictObject({
  ...pageQuery,
  fleet_id: z.optional(text(100, 'Only this fleet')),
  broker_id: z.optional(integerText(1, MAX_INTEGER, 'Only devices assigned to this broker')),
  unassigned: z.optional(booleanText('true: only devices without an assignment; false: only those with one')),
  device_type: z.optional(text(100, 'Only this type')),
  is_active: z.optional(booleanText('Only active, or only inactive devices')),
  online: z.optional(
    booleanText(
      'As the legacy service recorded it: Berth does not write `is_online`. false also reads devices that never were',
    ),
  ),
  region: z.optional(text(100, 'Only this region')),
  tags: z.optional(tagsText('Only devices with all of these tags: site:berlin,line:3')),
  search: z.optional(requiredText(255, 'Only devices whose uuid or name begins with it')),
  behind: z.optional(
    z
      .literal('true', { message: 'must be true or absent' })
      .check(
        z.meta({ description: 'true: only devices that were last handed other settings than their broker has now' }),
      ),
  ),
});
export type DeviceFilter = z.output<typeof listDevicesQuery>;

/**
 * A page of devices in the order of their ids.
 * @returns the page, and the last id when there are more
 * @throws Problem `invalid-request` for filters that contradict each other
 */
export async function listDevices(ctx: Context, filter: DeviceFilter) {
  const { limit = 100, after = 0, fleet_id, broker_id, unassigned, device_type, is_active, online, region } = filter;
  if (unassigned === true && broker_id !== undefined) {
    const message = 'contradicts broker_id: leave one of them out';
    throw new Problem(invalidRequest, `unassigned ${message}`, { errors: [{ path: 'unassigned', message }] });
  }
  const found = filter.search === undefined ? undefined : await searchDevices(ctx, filter.search);
  const tagged = filter.tags === undefined ? undefined : await taggedDevices(ctx, parseTags(filter.tags));
  const conditions: Conditions = (sql) => sql`
        d.id > ${after}
        ${fleet_id === undefined ? sql`` : sql`and d.fleet_id = ${fleet_id}`}
        ${broker_id === undefined ? sql`` : sql`and d.mqtt_broker_id = ${broker_id}`}
        ${unassigned === undefined ? sql`` : sql`and (d.mqtt_broker_id is null) = ${unassigned}`}
        ${device_type === undefined ? sql`` : sql`and d.device_type = ${device_type}`}
        ${is_active === undefined ? sql`` : sql`and ${is_active ? sql`` : sql`not`} coalesce(d.is_active, true)`}
        ${online === undefined ? sql`` : online ? sql`and d.is_online` : sql`and not coalesce(d.is_online, false)`}
        ${region === undefined ? sql`` : sql`and d.region = ${region}`}
        ${found === undefined ? sql`` : sql`and ${found(sql)}`}
        ${tagged === undefined ? sql`` : sql`and ${tagged(sql)}`}`;
  const page = { conditions, after, limit: limit + 1 };
  const rows = await (filter.behind ? pageOfBehind(ctx, filter, page) : pageOf(ctx, filter, page));
  const devices = rows.slice(0, limit).map(({ device }) => formatDevice(device));
  return { devices, lastId: rows.length > limit ? devices.at(-1)?.id : undefined };
}
