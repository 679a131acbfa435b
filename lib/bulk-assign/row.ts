import * as z from 'zod/mini';
import type { Fragment, Sql } from '../database/db.ts';
import { brokerName } from '../events/broker-name.ts';
import type { Filter } from './input.ts';
import { noticeOf, type UnknownValues, unknownValuesReply } from './unknown-values.ts';

export const STATES = ['queued', 'running', 'finished', 'failed', 'cancelled'] as const;
type State = (typeof STATES)[number];
/** Why a job failed: its target no longer takes devices. */
const FAILURES = ['broker-not-found', 'broker-inactive', 'broker-draining'] as const;

/** What a revert undoes. Of a filter's uuids only their number. */
type RevertedJob = {
  id: number;
  state: State;
  reason: string | null;
  filter: Record<string, unknown>;
  target: { mqtt_broker_id: number | null; name: string | null } | null;
  moved: number;
  already_there: number;
  created_at: string;
  created_by: string;
};

/** A job as {@link jobColumns} selects it. */
export type Job = {
  id: number;
  state: State;
  failure: (typeof FAILURES)[number] | null;
  reason: string | null;
  filter: Filter;
  unknown: UnknownValues | null;
  target_broker_id: number | null;
  target_name: string | null;
  reverts_job_id: number | null;
  reverts: RevertedJob | null;
  reverted_by_job_id: number | null;
  max_per_minute: number | null;
  close_former: boolean;
  created_at: Date;
  created_by: string;
  started_at: Date | null;
  last_batch_at: Date | null;
  ended_at: Date | null;
  moved: number;
  already_there: number;
  skipped: number;
  batches: number;
  batch_size: number;
  /** Time in milliseconds from its start to its next batch, without the time in which no worker had it. */
  worked_ms: number;
  /** 0 to 1, by the ids that the job has passed. */
  progress: number;
  /** Time in milliseconds until `max_per_minute` permits the next batch. */
  wait_ms: number;
};

/** SQL for the columns of a {@link Job} from the row `j` of bulk_assign_jobs. */
export function jobColumns(sql: Sql): Fragment {
  return sql`
    j.id, j.state, j.failure, j.reason, j.filter, j.unknown, j.target_broker_id,
    ${brokerName(sql, sql`j.target_broker_id`)} as target_name, j.reverts_job_id,
    case when j.reverts_job_id is not null then ${revertedJob(sql)} end as reverts,
    (select revert.id from bulk_assign_jobs revert where revert.reverts_job_id = j.id) as reverted_by_job_id,
    j.max_per_minute, j.close_former, j.created_at, j.created_by, j.started_at, j.last_batch_at, j.ended_at,
    j.moved, j.already_there, j.skipped, j.batches, j.batch_size,
    -- A paced job has used the time until its next batch.
    coalesce(extract(epoch from greatest(j.last_batch_at, j.next_batch_at) - j.started_at) * 1000 - j.idle_ms, 0)::float8 as worked_ms,
    case when j.state = 'finished' then 1
         else (j.cursor_id - j.start_id)::float8 / greatest(1, j.end_id - j.start_id) end as progress,
    greatest(0, extract(epoch from j.next_batch_at - clock_timestamp()) * 1000)::float8 as wait_ms`;
}

/** SQL: the {@link RevertedJob} of the job `j`. */
function revertedJob(sql: Sql): Fragment {
  return sql`
    (select json_build_object(
       'id', r.id, 'state', r.state, 'reason', r.reason,
       'filter', r.filter - 'uuids' || case
         when r.filter ? 'uuids' then jsonb_build_object('uuid_count', jsonb_array_length(r.filter -> 'uuids')) else '{}' end,
       'target', case when r.reverts_job_id is null then json_build_object(
         'mqtt_broker_id', r.target_broker_id, 'name', ${brokerName(sql, sql`r.target_broker_id`)}) end,
       'moved', r.moved, 'already_there', r.already_there, 'created_at', r.created_at, 'created_by', r.created_by)
     from bulk_assign_jobs r where r.id = j.reverts_job_id)`;
}

export const isOpen = ({ state }: Job): boolean => state === 'queued' || state === 'running';

const instant = z.string().check(z.meta({ format: 'date-time' }));
const meant = (description: string) => z.int().check(z.meta({ description }));
const target = z
  .nullable(z.object({ mqtt_broker_id: z.nullable(z.int()), name: z.nullable(z.string()) }))
  .check(z.meta({ description: 'Null for a revert: every device returns to its previous broker' }));

export const jobReply = z.object({
  id: z.int(),
  state: z.enum(STATES),
  failure: z.nullable(z.enum(FAILURES)),
  reason: z.nullable(z.string()),
  filter: z.record(z.string(), z.unknown()),
  unknown: unknownValuesReply,
  notice: z
    .nullable(z.string())
    .check(z.meta({ description: 'A sentence when the filter matches no device, or names unknown uuids' })),
  target,
  reverts_job_id: z.nullable(z.int()),
  reverts: z
    .nullable(
      z.object({
        id: z.int(),
        state: z.enum(STATES),
        reason: z.nullable(z.string()),
        filter: z.record(z.string(), z.unknown()),
        target,
        moved: z.int(),
        already_there: z.int(),
        created_at: instant,
        created_by: z.string(),
      }),
    )
    .check(z.meta({ description: 'The job that this one undoes' })),
  reverted_by_job_id: z.nullable(z.int()),
  max_per_minute: z.nullable(z.int()),
  close_former: z.boolean(),
  created_at: instant,
  created_by: z.string(),
  started_at: z.nullable(instant),
  ended_at: z.nullable(instant),
  moved: meant('Devices that have another broker now'),
  already_there: meant(
    'Devices that match and resolved to the target before, with or without an assignment of their own',
  ),
  skipped: meant('Devices that were left alone; the list of the job’s devices says why'),
  batches: z.int(),
  progress: z.number().check(z.meta({ description: '0 to 1' })),
  devices_per_second: z.nullable(z.number()),
  seconds_left: z.nullable(z.int()),
});

/** A job as operators see it, with its speed and the time left at that speed. */
export function formatJob(job: Job) {
  const { moved, already_there, skipped, worked_ms, progress } = job;
  const done = moved + already_there + skipped;
  const left = isOpen(job) && progress > 0 ? (worked_ms * (1 - progress)) / progress : undefined;
  return {
    id: job.id,
    state: job.state,
    failure: job.failure,
    reason: job.reason,
    filter: job.filter,
    unknown: job.unknown,
    notice: job.reverts
      ? null
      : noticeOf(job.filter, job.unknown, done > 0 || (job.state === 'finished' ? false : undefined)),
    target: job.reverts_job_id === null ? { mqtt_broker_id: job.target_broker_id, name: job.target_name } : null,
    reverts_job_id: job.reverts_job_id,
    reverts: job.reverts && { ...job.reverts, created_at: new Date(job.reverts.created_at) },
    reverted_by_job_id: job.reverted_by_job_id,
    max_per_minute: job.max_per_minute,
    close_former: job.close_former,
    created_at: job.created_at,
    created_by: job.created_by,
    started_at: job.started_at,
    ended_at: job.ended_at,
    moved,
    already_there,
    skipped,
    batches: job.batches,
    progress: Math.round(progress * 10_000) / 10_000,
    devices_per_second: worked_ms > 0 ? Math.round((done / worked_ms) * 10_000) / 10 : null,
    seconds_left: left === undefined ? null : Math.ceil(left / 1000),
  };
}
