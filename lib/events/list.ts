import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { deviceNotFound, Problem } from '../errors.ts';
import { integerText, pageQuery } from '../fields.ts';

export const listEventsQuery = z.strictObject({
  limit: pageQuery.limit,
  before: z.optional(
    integerText(1, Number.MAX_SAFE_INTEGER, 'Events before this id; `next` of the page before has it'),
  ),
});

export type DeviceEvent = {
  id: number;
  at: Date;
  type: string;
  actor: string | null;
  reason: string | null;
  from_broker_id: number | null;
  to_broker_id: number | null;
  source_ip: string | null;
  request_id: string | null;
};

/**
 * What happened to a device, newest first; also to one that is deleted by now.
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
      with lives as (
        select id from devices where uuid = berth_uuid(${uuid})
        union
        select device_id from device_events where device_uuid = ${uuid} and job_id is null and type = 'deleted'
      ), event as (
        (select e.* from device_events e where e.device_uuid = ${uuid} and e.job_id is null ${page})
        union all
        (select e.* from lives join device_events e on e.device_id = lives.id and e.job_id is not null where true ${page})
      )
      select id::float8 as id, at, type, actor, reason, from_broker_id, to_broker_id, source_ip, request_id
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
