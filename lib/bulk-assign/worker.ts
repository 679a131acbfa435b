import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { Problem } from '../errors.ts';
import { log } from '../log.ts';
import { count, measure } from '../metrics.ts';
import { lookAround, type Surroundings } from './database-load.ts';
import { findJob } from './find-job.ts';
import { isOpen, type Job } from './input.ts';
import { afterBatch, afterTimeout, type Pace, startPace } from './pace.ts';
import { type Batch, runBatch } from './run-batch.ts';

/** A batch takes a fifth of a second; one that hasn't answered by then is repeated. */
const BATCH_DEADLINE_MS = 5_000;
/** Kept for the batch that is running when the time is over. */
const RESERVE_MS = 1_000;
const MAX_LAG_MS = 1_500;
/** How often a worker looks around, and looks again while a replica lags or the database is away. */
const LOOK_MS = 1_000;
/** How long to ask again for a job that isn't to be had: longer than a lease. */
const PATIENCE_MS = 3_000;
const ASK_AGAIN_MS = 250;

/** What a worker knows from one batch to the next; all that must not be lost is in the job's row. */
type Shift = { worker: string; job: Job; pace: Pace; around: Surroundings; lookedAt: number; patientSince: number };

/**
 * Works on a job, batch after batch with rests between them, until it ends, somebody else has it, or
 * `ctx.deadline` is near. Bears a database that is away for a while.
 *
 * @returns the job as it was last seen
 * @throws Problem `bulk-assign-job-not-found`; whatever Postgres refuses for good
 */
export async function workOn(ctx: Context, id: number): Promise<Job> {
  const job = await findJob(ctx, id);
  const around = { lagMs: 0, busy: true };
  const shift = {
    worker: randomUUID(),
    job,
    pace: startPace(job.batch_size),
    around,
    lookedAt: 0,
    patientSince: Date.now(),
  };
  while (isOpen(shift.job) && Date.now() - shift.patientSince < PATIENCE_MS) {
    const waitMs = Math.max(shift.pace.restMs, shift.job.wait_ms);
    if (Date.now() + waitMs >= ctx.deadline - RESERVE_MS) break;
    await sleep(waitMs);
    await step(ctx, shift);
  }
  return shift.job;
}

/** Works on open jobs that nobody has, the oldest first, until there is none or the time is over. */
export async function workOnOpenJobs(ctx: Context): Promise<void> {
  while (Date.now() < ctx.deadline - RESERVE_MS) {
    const [free] = await query<{ id: number }>(
      ctx,
      (sql) => sql`
        select id from (
          select id, leased_until from bulk_assign_jobs where state in ('queued', 'running') order by id limit 2
        ) at_once
        where leased_until < now() order by id limit 1`,
    );
    if (!free) return;
    await workOn(ctx, free.id);
  }
}

/** One batch, or finding out why there can't be one now. */
async function step(ctx: Context, shift: Shift): Promise<void> {
  const shortly = { ...ctx, deadline: Math.min(ctx.deadline, Date.now() + BATCH_DEADLINE_MS) };
  try {
    if (!(await mayGoOn(shortly, shift))) return;
    const begin = performance.now();
    const batch = await runBatch(shortly, shift.worker, shift.job, shift.pace.size);
    if (batch) return goOn(shift, batch, performance.now() - begin);
    shift.job = await findJob(shortly, shift.job.id);
    shift.pace = { ...shift.pace, restMs: ASK_AGAIN_MS };
  } catch (error) {
    shift.pace = afterFailure(shift.pace, error);
    shift.patientSince = Date.now();
  }
}

/** Looks around once a second; false while a replica lags. */
async function mayGoOn(ctx: Context, shift: Shift): Promise<boolean> {
  if (Date.now() - shift.lookedAt < LOOK_MS) return true;
  shift.around = await lookAround(ctx);
  if (shift.around.lagMs <= MAX_LAG_MS) {
    shift.lookedAt = Date.now();
    return true;
  }
  count('BulkAssignWaitsForReplica');
  shift.pace = { ...shift.pace, restMs: LOOK_MS };
  shift.patientSince = Date.now();
  shift.job = await findJob(ctx, shift.job.id);
  return false;
}

function goOn(shift: Shift, batch: Batch, ms: number): void {
  const { job, moved, skipped, size } = batch;
  log.info('bulk-assign batch', { job: job.id, state: job.state, moved, skipped, size, ms, progress: job.progress });
  measure({ BulkAssignMoved: moved, BulkAssignSkipped: skipped, BulkAssignBatchMs: ms, BulkAssignBatchSize: size });
  shift.pace = afterBatch(shift.pace, { size, devices: moved + skipped, ms, busy: shift.around.busy });
  shift.job = job;
  shift.patientSince = Date.now();
}

/**
 * The pace after a batch that failed but may be repeated.
 * @throws the error when it is another one
 */
function afterFailure(pace: Pace, error: unknown): Pace {
  // 23503: a broker was deleted while the batch ran; the next one finds out which.
  if ((error as { code?: unknown }).code === '23503') return pace;
  if (!(error instanceof Problem) || error.code !== 'database-unavailable') throw error;
  const cause = (error.cause as { code?: unknown } | undefined)?.code;
  return cause === '55P03' || cause === '57014' ? afterTimeout(pace) : { ...pace, restMs: LOOK_MS };
}
