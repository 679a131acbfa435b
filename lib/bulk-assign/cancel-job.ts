import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { bulkAssignJobEnded, Problem } from '../errors.ts';
import { findJob } from './find-job.ts';
import { recordChange } from './record.ts';
import { type Job, jobColumns } from './row.ts';

/**
 * Ends an open job where it is, after a running batch has finished. Cancelling again changes nothing.
 * @throws Problem `bulk-assign-job-not-found`, `bulk-assign-job-ended`
 */
export async function cancelJob(ctx: Context, id: number): Promise<Job> {
  const [job] = await query<Job>(
    ctx,
    (sql) => sql`
      with before as (
        select * from bulk_assign_jobs j
        where j.id = ${id} and j.state in ('queued', 'running', 'cancelled') for no key update
      ), job as (
        update bulk_assign_jobs j set state = 'cancelled', ended_at = coalesce(j.ended_at, now())
        from before where j.id = before.id
        returning j.*
      ), event as (
        ${recordChange(sql, ctx, 'job-cancelled')}
      )
      select ${jobColumns(sql)} from job j`,
  );
  if (job) return job;
  const { state } = await findJob(ctx, id);
  throw new Problem(bulkAssignJobEnded, `Job ${id} is ${state}: only an open job can be cancelled.`, {
    extra: { state },
  });
}
