import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { log } from '../log.ts';
import { measure } from '../metrics.ts';

/** A batch takes less than a second, and what a job waits for is in its row. */
const STUCK_AFTER_MINUTES = 10;
/** Those that are worked on at the same time; the others wait for their turn. */
const JOBS_AT_ONCE = 2;

/** Says how many of the jobs whose turn it is have got nowhere for ten minutes: the metric `BulkAssignStuckJobs`. */
export async function reportStuckJobs(ctx: Context): Promise<void> {
  const stuck = await query<{ id: number; moved: number }>(
    ctx,
    (sql) => sql`
      select id, moved from (
        select * from bulk_assign_jobs where state in ('queued', 'running') order by id limit ${JOBS_AT_ONCE}
      ) at_once
      where greatest(created_at, last_batch_at, next_batch_at, leased_until)
            < now() - make_interval(mins => ${STUCK_AFTER_MINUTES})`,
  );
  measure({ BulkAssignStuckJobs: stuck.length });
  for (const { id, moved } of stuck) log.warn('bulk-assign job is stuck', { job: id, moved });
}
