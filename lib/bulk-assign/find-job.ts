import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { bulkAssignJobNotFound, Problem } from '../errors.ts';
import { type Job, jobColumns } from './row.ts';

/** @throws Problem `bulk-assign-job-not-found` */
export async function findJob(ctx: Context, id: number): Promise<Job> {
  const [job] = await query<Job>(ctx, (sql) => sql`select ${jobColumns(sql)} from bulk_assign_jobs j where id = ${id}`);
  if (!job) throw new Problem(bulkAssignJobNotFound);
  return job;
}
