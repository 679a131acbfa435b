import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import type { Filter, jobsQuery } from './input.ts';
import { formatJob, type Job, jobColumns } from './row.ts';

/**
 * A page of jobs, newest first. A filter's uuids are only counted, because a page of jobs could name 100,000 devices.
 *
 * @param after id of the last job of the previous page
 */
export async function listJobs(ctx: Context, { limit = 20, after }: z.output<typeof jobsQuery>) {
  const jobs = await query<Job>(
    ctx,
    (sql) => sql`
      select ${jobColumns(sql)} from bulk_assign_jobs j
      where ${after === undefined ? sql`true` : sql`j.id < ${after}`}
      order by j.id desc
      limit ${limit + 1}`,
  );
  const page = jobs.slice(0, limit).map((job) => {
    const shown = formatJob(job);
    return { ...shown, filter: countUuids(shown.filter), unknown: shown.unknown && countUuids(shown.unknown) };
  });
  return { count: page.length, jobs: page, nextAfter: jobs.length > limit ? page.at(-1)?.id : undefined };
}

function countUuids({ uuids, ...others }: Pick<Filter, 'uuids'>) {
  return { ...others, ...(uuids ? { uuid_count: uuids.length } : {}) };
}
