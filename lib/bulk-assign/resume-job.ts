import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { bulkAssignJobEnded, Problem } from '../errors.ts';
import { findJob } from './find-job.ts';
import { recordChange } from './record.ts';
import { isOpen } from './row.ts';

/**
 * Reopens a failed or cancelled job where it ended. An open job stays as it is.
 * @throws Problem `bulk-assign-job-not-found`, `bulk-assign-job-ended` when it is finished or reverted
 */
export async function resumeJob(ctx: Context, id: number): Promise<void> {
  const [job] = await query(
    ctx,
    (sql) => sql`
      with before as (
        select * from bulk_assign_jobs j
        where j.id = ${id} and j.state in ('failed', 'cancelled')
          and not exists (select from bulk_assign_jobs revert where revert.reverts_job_id = j.id)
        for no key update
      ), job as (
        update bulk_assign_jobs j set state = 'queued', failure = null, ended_at = null
        from before where j.id = before.id
        returning j.*
      ), event as (
        ${recordChange(sql, ctx, 'job-resumed')}
      )
      select id from job`,
  );
  if (job) return;
  const found = await findJob(ctx, id);
  if (isOpen(found)) return;
  const { state, reverted_by_job_id } = found;
  const why = reverted_by_job_id === null ? state : `${state} and reverted by job ${reverted_by_job_id}`;
  throw new Problem(bulkAssignJobEnded, `Job ${id} is ${why}: it can’t be resumed.`, {
    extra: { state, reverted_by_job_id },
  });
}
