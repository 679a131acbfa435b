import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { log } from '../log.ts';
import { measure } from '../metrics.ts';
import { runnableJobs } from './runnable-jobs.ts';

/** A batch takes less than a second, and `next_batch_at` says what a job waits for. */
const STUCK_AFTER_MINUTES = 10;

/**
 * Reports how many runnable jobs have made no progress for ten minutes, as the metric `BulkAssignStuckJobs`. A worker that
 * holds a job's lease is no progress: its batches may all fail.
 */
export async function reportStuckJobs(ctx: Context): Promise<void> {
  const stuck = await query<{ id: number; moved: number }>(
    ctx,
    (sql) => sql`
      select id, moved from (${runnableJobs(sql)}) runnable
      where greatest(created_at, last_batch_at, next_batch_at) < now() - make_interval(mins => ${STUCK_AFTER_MINUTES})`,
  );
  measure({ BulkAssignStuckJobs: stuck.length });
  for (const { id, moved } of stuck) log.warn('bulk-assign job is stuck', { job: id, moved });
}
