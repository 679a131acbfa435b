import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { bulkAssignJobNotFound, Problem } from '../errors.ts';
import { integerText } from '../fields.ts';

const MAX_LIMIT = 10_000;
const eventId = 'must be the `after` of the previous page’s `next`';

export const jobDevicesQuery = z.strictObject({
  outcome: z.optional(z.enum(['moved', 'skipped'], { message: 'must be moved or skipped' })),
  limit: z.optional(integerText(1, MAX_LIMIT, 'Rows per page, default 100')),
  after: z.optional(z.pipe(z.string().check(z.regex(/^\d{1,15}$/, { message: eventId })), z.transform(Number))),
});

/** The columns of a row in the order of the CSV format. */
export const JOB_DEVICE_COLUMNS = [
  'id',
  'at',
  'device_uuid',
  'fleet_id',
  'outcome',
  'reason',
  'from_broker_id',
  'to_broker_id',
] as const;

export const jobDevice = z.object({
  id: z.int(),
  at: z.string(),
  device_uuid: z.string(),
  fleet_id: z.nullable(z.string()),
  outcome: z.enum(['moved', 'skipped']),
  reason: z.string().check(
    z.meta({
      description:
        'Moved: `bulk-assign` or `revert`. Skipped: `changed-since` (somebody else moved it after the job was created), or by a revert `device-deleted`, `broker-deleted`, `broker-inactive` (the previous broker)',
    }),
  ),
  from_broker_id: z.nullable(z.int()),
  to_broker_id: z.nullable(z.int()),
});

type Row = { id: string; at: Date } & Record<Exclude<(typeof JOB_DEVICE_COLUMNS)[number], 'id' | 'at'>, string | null>;

/**
 * What a job did with each device, in the order of the job: moved, or skipped and why.
 * @throws Problem `bulk-assign-job-not-found`
 */
export async function listJobDevices(
  ctx: Context,
  jobId: number,
  { outcome, limit = 100, after = 0 }: z.output<typeof jobDevicesQuery>,
) {
  const [found] = await query<{ devices: Row[] }>(
    ctx,
    (sql) => sql`
      select (
        select coalesce(json_agg(page), '[]') from (
          select id, at, device_uuid, fleet_id, type as outcome, reason, from_broker_id, to_broker_id
          from device_events
          where job_id = ${jobId} and id > ${after} and ${outcome ? sql`type = ${outcome}` : sql`true`}
          order by id
          limit ${limit + 1}) page) as devices
      from bulk_assign_jobs j where j.id = ${jobId}`,
  );
  if (!found) throw new Problem(bulkAssignJobNotFound);
  const devices = found.devices.slice(0, limit).map((row) => ({ ...row, at: new Date(row.at).toISOString() }));
  const more = found.devices.length > limit;
  return { count: devices.length, devices, nextAfter: more ? Number(devices.at(-1)?.id) : undefined };
}
