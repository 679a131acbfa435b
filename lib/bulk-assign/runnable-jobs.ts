import type { Fragment, Sql } from '../database/db.ts';

/** The oldest jobs that are due run simultaneously; the others queue. */
const MAX_RUNNING_JOBS = 2;

/** SQL for the jobs whose turn it is. One that waits for its `max_per_minute` does not keep others from running. */
export function runnableJobs(sql: Sql): Fragment {
  return sql`
    select * from bulk_assign_jobs
    where state in ('queued', 'running') and next_batch_at <= now()
    order by id limit ${MAX_RUNNING_JOBS}`;
}
