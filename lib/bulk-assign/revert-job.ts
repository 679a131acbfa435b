import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { bulkAssignJobOpen, bulkAssignJobReverted, Problem } from '../errors.ts';
import { findJob } from './find-job.ts';
import { isNew, recordCreation } from './record.ts';
import { isOpen } from './row.ts';

/**
 * Creates the job that undoes job `id`, in the same order: each device that is still where job `id` put it returns to the
 * broker that it came from.
 *
 * @param reason why, in the operator's words
 * @returns the new job's id
 * @throws Problem `bulk-assign-job-not-found`, `bulk-assign-job-open`, `bulk-assign-job-reverted`
 */
export async function revertJob(ctx: Context, id: number, reason?: string): Promise<number> {
  const [revert] = await query<{ id: number; mine: boolean }>(
    ctx,
    (sql) => sql`
      with job as (
        insert into bulk_assign_jobs as j
          (once, request_id, created_by, reason, filter, reverts_job_id, max_per_minute, start_id, cursor_id, end_id)
        select ${`revert:${id}`}, ${ctx.requestId}, ${ctx.actor}, ${reason ?? null}, '{}', reverted.id, reverted.max_per_minute,
               events.first - 1, events.first - 1, events.last
        from bulk_assign_jobs reverted,
             (select coalesce(min(id), 1) as first, coalesce(max(id), 0) as last from device_events where job_id = ${id}) events
        where reverted.id = ${id} and reverted.state not in ('queued', 'running')
        on conflict (once) do update set once = excluded.once
        returning j.*, ${isNew(sql)}
      ), event as (
        ${recordCreation(sql, ctx)}
      )
      select j.id, j.request_id = ${ctx.requestId} as mine from job j`,
  );
  if (revert?.mine) return revert.id;
  const job = await findJob(ctx, id);
  if (isOpen(job)) {
    throw new Problem(bulkAssignJobOpen, `Job ${id} is ${job.state}: cancel it first, then revert it.`, {
      extra: { state: job.state },
    });
  }
  throw new Problem(bulkAssignJobReverted, `Job ${id} is reverted by job ${job.reverted_by_job_id}.`, {
    extra: { state: job.state, reverted_by_job_id: job.reverted_by_job_id },
  });
}
