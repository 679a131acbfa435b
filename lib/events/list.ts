import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { deviceNotFound, Problem } from '../errors.ts';
import { integerText, pageQuery } from '../fields.ts';
import { brokerName } from './broker-name.ts';
import { deviceIds } from './device-ids.ts';
import type { EventType } from './record.ts';

export const listEventsQuery = z.strictObject({
  limit: pageQuery.limit,
  before: z.optional(
    integerText(1, Number.MAX_SAFE_INTEGER, 'Events before this id; `next` of the previous page has it'),
  ),
});

const brokerNameReply = z
  .nullable(z.string())
  .check(z.meta({ description: 'Its name now, or the name that it had when it was deleted' }));

export const deviceEvent = z.object({
  id: z.int(),
  at: z.string(),
  type: z.string(),
  actor: z.nullable(z.string()),
  reason: z.nullable(z.string()),
  fleet_id: z.nullable(z.string()).check(z.meta({ description: 'The fleet of the device after the event' })),
  from_broker_id: z.nullable(z.int()),
  from_broker_name: brokerNameReply,
  to_broker_id: z.nullable(z.int()),
  to_broker_name: brokerNameReply,
  job_id: z.nullable(z.int()).check(z.meta({ description: 'The bulk-assign job that did it' })),
  job_reason: z.nullable(z.string()).check(z.meta({ description: 'The `reason` of that job' })),
  source_ip: z.nullable(z.string()),
  request_id: z.nullable(z.string()),
});
type DeviceEvent = Omit<z.output<typeof deviceEvent>, 'at' | 'type'> & { at: Date; type: EventType };

/**
 * What happened to a device, newest first, even if it is deleted by now.
 * @returns the page, and the last id when there are more
 * @throws Problem `device-not-found` when there is neither a device nor an event
 */
export async function listDeviceEvents(
  ctx: Context,
  uuid: string,
  { limit = 100, before }: z.output<typeof listEventsQuery>,
) {
  const rows = await query<DeviceEvent>(ctx, (sql) => {
    const page = sql`${before === undefined ? sql`` : sql`and e.id < ${before}`} order by e.id desc limit ${limit + 1}`;
    return sql`
      -- Events of jobs are found by the device's id (an index in the order of jobs), all others by its uuid.
      with device_ids as (
        ${deviceIds(sql, uuid)}
      ), event as (
        (select e.* from device_events e where e.device_uuid = ${uuid} and e.job_id is null ${page})
        union all
        (select e.* from device_ids join device_events e on e.device_id = device_ids.id and e.job_id is not null
         where true ${page})
      )
      select event.id::float8 as id, event.at, event.type, event.actor, event.reason, event.fleet_id,
             event.from_broker_id, ${brokerName(sql, sql`event.from_broker_id`)} as from_broker_name,
             event.to_broker_id, ${brokerName(sql, sql`event.to_broker_id`)} as to_broker_name,
             event.job_id, (select j.reason from bulk_assign_jobs j where j.id = event.job_id) as job_reason,
             event.source_ip, event.request_id
      from event
      order by event.id desc
      limit ${limit + 1}`;
  });
  if (rows.length === 0 && before === undefined) await requireDevice(ctx, uuid);
  const events = rows.slice(0, limit);
  return { events, lastId: rows.length > limit ? events.at(-1)?.id : undefined };
}

async function requireDevice(ctx: Context, uuid: string): Promise<void> {
  const [device] = await query(ctx, (sql) => sql`select id from devices where uuid = berth_uuid(${uuid})`);
  if (!device) throw new Problem(deviceNotFound);
}
