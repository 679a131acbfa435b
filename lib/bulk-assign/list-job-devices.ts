import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { bulkAssignJobNotFound, Problem } from '../errors.ts';
import { brokerNames } from '../events/broker-name.ts';
import { integerText } from '../fields.ts';

const OUTCOMES = ['moved', 'already-there', 'skipped'] as const;
const MAX_LIMIT = 10_000;
const eventId = 'must be the `after` of the previous page’s `next`';

export const jobDevicesQuery = z.strictObject({
  outcome: z.optional(z.enum(OUTCOMES, { message: 'must be moved, already-there or skipped' })),
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
  'from_broker_name',
  'to_broker_name',
] as const;

export const jobDevice = z.object({
  id: z.int(),
  at: z.string(),
  device_uuid: z.string(),
  fleet_id: z.nullable(z.string()),
  outcome: z.enum(OUTCOMES),
  reason: z.string().check(
    z.meta({
      description:
        'Moved: `bulk-assign` or `revert`. Already there: `already-there` (it resolved to this broker before, without this assignment). Skipped: `changed-since` (somebody else moved it after the job was created), or by a revert `device-deleted`, `broker-deleted`, `broker-inactive` (the previous broker)',
    }),
  ),
  from_broker_id: z.nullable(z.int()),
  to_broker_id: z.nullable(z.int()),
  from_broker_name: z.nullable(z.string()),
  to_broker_name: z.nullable(z.string()),
});

type Row = { id: string; at: Date } & Record<Exclude<(typeof JOB_DEVICE_COLUMNS)[number], 'id' | 'at'>, string | null>;

/**
 * What a job did with each device that was not assigned to its target, in the order of the job: moved, already there, or
 * skipped and why.
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
          select e.id, e.at, e.device_uuid, e.fleet_id, ${outcomeOf(sql)} as outcome, e.reason, e.from_broker_id, e.to_broker_id,
                 origin.name as from_broker_name, target.name as to_broker_name
          from (
            select * from device_events e where e.job_id = ${jobId} and e.id > ${after} and ${conditionOf(sql, outcome)}
            order by e.id
            limit ${limit + 1}) e
          left join ${brokerNames(sql)} origin on origin.id = e.from_broker_id
          left join ${brokerNames(sql)} target on target.id = e.to_broker_id
          order by e.id) page) as devices
      from bulk_assign_jobs j where j.id = ${jobId}`,
  );
  if (!found) throw new Problem(bulkAssignJobNotFound);
  const devices = found.devices.slice(0, limit).map((row) => ({ ...row, at: new Date(row.at).toISOString() }));
  const more = found.devices.length > limit;
  return { count: devices.length, devices, nextAfter: more ? Number(devices.at(-1)?.id) : undefined };
}

/** SQL: the outcome that the event `e` of a job records. */
function outcomeOf(sql: Sql): Fragment {
  return sql`case when e.reason = 'already-there' then e.reason else e.type end`;
}

/** SQL: whether the event `e` of a job records this outcome. The literal finds the index of skipped devices. */
function conditionOf(sql: Sql, outcome: (typeof OUTCOMES)[number] | undefined): Fragment {
  if (outcome === undefined) return sql`true`;
  return outcome === 'skipped' ? sql`e.type = 'skipped'` : sql`${outcomeOf(sql)} = ${outcome}`;
}
