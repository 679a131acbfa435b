import * as z from 'zod/mini';
import type { Fragment, Sql } from '../database/db.ts';
import type { Filter } from './input.ts';

export const STATES = ['queued', 'running', 'finished', 'failed', 'cancelled'] as const;
type State = (typeof STATES)[number];
/** Why a job failed: its target no longer takes devices. */
const FAILURES = ['broker-not-found', 'broker-inactive', 'broker-draining'] as const;

/** A job as {@link jobColumns} selects it. */
export type Job = {
  id: number;
  state: State;
  failure: (typeof FAILURES)[number] | null;
  filter: Filter;
  target_broker_id: number | null;
  reverts_job_id: number | null;
  reverted_by_job_id: number | null;
  max_per_minute: number | null;
  close_former: boolean;
  created_at: Date;
  created_by: string;
  started_at: Date | null;
  last_batch_at: Date | null;
  ended_at: Date | null;
  moved: number;
  skipped: number;
  batches: number;
  batch_size: number;
  /** 0 to 1, by the ids that the job has passed. */
  progress: number;
  /** Time in milliseconds until `max_per_minute` permits the next batch. */
  wait_ms: number;
};

/** SQL for the columns of a {@link Job} from the row `j` of bulk_assign_jobs. */
export function jobColumns(sql: Sql): Fragment {
  return sql`
    j.id, j.state, j.failure, j.filter, j.target_broker_id, j.reverts_job_id,
    (select revert.id from bulk_assign_jobs revert where revert.reverts_job_id = j.id) as reverted_by_job_id,
    j.max_per_minute, j.close_former, j.created_at, j.created_by, j.started_at, j.last_batch_at, j.ended_at,
    j.moved, j.skipped, j.batches, j.batch_size,
    case when j.state = 'finished' then 1
         else (j.cursor_id - j.start_id)::float8 / greatest(1, j.end_id - j.start_id) end as progress,
    greatest(0, extract(epoch from j.next_batch_at - clock_timestamp()) * 1000)::float8 as wait_ms`;
}

export const isOpen = ({ state }: Job): boolean => state === 'queued' || state === 'running';

const instant = z.string().check(z.meta({ format: 'date-time' }));

export const jobReply = z.object({
  id: z.int(),
  state: z.enum(STATES),
  failure: z.nullable(z.enum(FAILURES)),
  filter: z.record(z.string(), z.unknown()),
  target: z
    .nullable(z.object({ mqtt_broker_id: z.nullable(z.int()) }))
    .check(z.meta({ description: 'Null for a revert: every device returns to its previous broker' })),
  reverts_job_id: z.nullable(z.int()),
  reverted_by_job_id: z.nullable(z.int()),
  max_per_minute: z.nullable(z.int()),
  close_former: z.boolean(),
  created_at: instant,
  created_by: z.string(),
  started_at: z.nullable(instant),
  ended_at: z.nullable(instant),
  moved: z.int(),
  skipped: z.int(),
  batches: z.int(),
  progress: z.number().check(z.meta({ description: '0 to 1' })),
  devices_per_second: z.nullable(z.number()),
  seconds_left: z.nullable(z.int()),
});

/** A job as operators see it, with its speed and the time left at that speed. */
export function formatJob(job: Job) {
  const workedMs = job.started_at && job.last_batch_at ? job.last_batch_at.getTime() - job.started_at.getTime() : 0;
  const left = isOpen(job) && job.progress > 0 ? (workedMs * (1 - job.progress)) / job.progress : undefined;
  return {
    id: job.id,
    state: job.state,
    failure: job.failure,
    filter: job.filter,
    target: job.reverts_job_id === null ? { mqtt_broker_id: job.target_broker_id } : null,
    reverts_job_id: job.reverts_job_id,
    reverted_by_job_id: job.reverted_by_job_id,
    max_per_minute: job.max_per_minute,
    close_former: job.close_former,
    created_at: job.created_at,
    created_by: job.created_by,
    started_at: job.started_at,
    ended_at: job.ended_at,
    moved: job.moved,
    skipped: job.skipped,
    batches: job.batches,
    progress: Math.round(job.progress * 10_000) / 10_000,
    devices_per_second: workedMs > 0 ? Math.round((job.moved / workedMs) * 10_000) / 10 : null,
    seconds_left: left === undefined ? null : Math.ceil(left / 1000),
  };
}
