import type { Fragment, Sql } from '../database/db.ts';

/** The oldest open jobs run simultaneously; the others queue. */
const MAX_RUNNING_JOBS = 2;

/** SQL for the jobs whose turn it is. */
export function runnableJobs(sql: Sql): Fragment {
  return sql`
    select * from bulk_assign_jobs where state in ('queued', 'running') order by id limit ${MAX_RUNNING_JOBS}`;
}
