import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { type Lease, releaseLease, takeLease } from '../database/leases.ts';
import { Problem } from '../errors.ts';
import { log } from '../log.ts';
import { count, measure } from '../metrics.ts';
import { type DatabaseLoad, readDatabaseLoad } from './database-load.ts';
import { findJob } from './find-job.ts';
import { afterBatch, afterTimeout, isTimeout, type Pace, startPace } from './pace.ts';
import { isOpen, type Job } from './row.ts';
import { type Batch, LEASE_SECONDS, runBatch } from './run-batch.ts';
import { runnableJobs } from './runnable-jobs.ts';

/** The lease of a job is named this and the job's id. */
const JOB_LEASE = 'bulk-assign-job:';
/** A batch usually takes a fifth of a second. After this time it is repeated. */
const BATCH_DEADLINE_MS = 5_000;
/** Kept free for the batch that runs when the deadline comes. */
const RESERVE_MS = 500;
const MAX_REPLICA_LAG_MS = 1_500;
/** How often a worker reads the database's load, and how long it rests while a replica lags or the database is away. */
const LOAD_CHECK_MS = 1_000;
/** How long a worker asks for a job that it does not get. Longer than a lease, so that it takes over from one that died. */
const GIVE_UP_AFTER_MS = 3_000;
const ASK_AGAIN_MS = 250;
/** One worker of the schedule has this lease and waits for paced jobs; the others end. */
const WAITING_LEASE = 'bulk-assign-waiting';
/** How often it looks for another job that is due. A worker leaves a job that has nothing due for longer. */
const LOOK_AGAIN_MS = 1_000;

/** The state of a worker between batches. All that must survive the worker is in the job's row. */
type Worker = {
  holder: string;
  lease: Lease | undefined;
  job: Job;
  pace: Pace;
  load: DatabaseLoad;
  loadReadAt: number;
  /** Since when the worker has been asking for a job that it does not get. */
  waitingSince: number;
};

/**
 * Runs a job, batch after batch with rests between them, until it ends, another worker has it, or `ctx.deadline` is near.
 * Waits for a database that is temporarily unavailable.
 *
 * @param patienceMs how long it waits for a `max_per_minute`. Then it leaves the job to the next worker
 * @returns the job as it was last read
 * @throws Problem `bulk-assign-job-not-found`; a PostgresError that a repetition does not solve
 */
export async function workOn(ctx: Context, id: number, patienceMs = Number.POSITIVE_INFINITY): Promise<Job> {
  const job = await findJob(ctx, id);
  const worker: Worker = {
    holder: randomUUID(),
    lease: undefined,
    job,
    pace: startPace(job.batch_size),
    load: { lagMs: 0, busy: true },
    loadReadAt: 0,
    waitingSince: Date.now(),
  };
  while (isOpen(worker.job) && Date.now() - worker.waitingSince < GIVE_UP_AFTER_MS) {
    if (worker.job.wait_ms > patienceMs) break;
    const waitMs = Math.max(worker.pace.restMs, worker.job.wait_ms);
    if (Date.now() + waitMs >= ctx.deadline - RESERVE_MS) break;
    await sleep(waitMs);
    await step(ctx, worker);
  }
  if (worker.lease && isOpen(worker.job)) await leave(ctx, worker.lease);
  return worker.job;
}

/** Lets another worker take the job immediately. If that fails, the lease ends by itself. */
async function leave(ctx: Context, lease: Lease): Promise<void> {
  await releaseLease(ctx, lease).catch((error) =>
    log.warn('lease not released', {
      requestId: ctx.requestId,
      name: lease.name,
      code: (error as { code?: unknown }).code,
    }),
  );
}

/**
 * Runs the open jobs that no worker has until `ctx.deadline` is near: first the jobs whose turn it is, the oldest first, then
 * those that wait for their `max_per_minute`. It leaves a job while nothing of it is due, and returns to it. One worker
 * waits for such jobs; the others end, so that new jobs find a free one.
 */
export async function workOnOpenJobs(ctx: Context): Promise<void> {
  const done: string[] = [];
  const holder = randomUUID();
  let waiting: Lease | undefined;
  for (;;) {
    const free = await nextJob(ctx, done);
    if (!free || Date.now() + free.wait_ms >= ctx.deadline - RESERVE_MS) break;
    if (free.wait_ms > 0) {
      waiting = await takeLease(ctx, WAITING_LEASE, holder, LEASE_SECONDS);
      if (!waiting) return;
      await sleep(Math.min(free.wait_ms, LOOK_AGAIN_MS));
      continue;
    }
    const job = await workOn(ctx, free.id, LOOK_AGAIN_MS);
    if (!isOpen(job) || job.wait_ms === 0) done.push(String(free.id));
  }
  if (waiting) await releaseLease(ctx, waiting);
}

/** The free job that is due or will be next. */
async function nextJob(ctx: Context, done: string[]): Promise<{ id: number; wait_ms: number } | undefined> {
  const [free] = await query<{ id: number; wait_ms: number }>(
    ctx,
    (sql) => sql`
      select id, greatest(0, extract(epoch from next_batch_at - now()) * 1000)::float8 as wait_ms
      from bulk_assign_jobs j
      where state in ('queued', 'running') and id::text <> all(${done}::text[])
        and (next_batch_at > now() or id in (select id from (${runnableJobs(sql)}) runnable))
        and not exists (select from leases where name = ${JOB_LEASE}::text || j.id and until > now())
      order by greatest(next_batch_at, now()), id limit 1`,
  );
  return free;
}

/** Runs one batch, or finds out why none can run now. */
async function step(ctx: Context, worker: Worker): Promise<void> {
  const stepCtx = { ...ctx, deadline: Math.min(ctx.deadline, Date.now() + BATCH_DEADLINE_MS) };
  try {
    if (await isReplicaLagging(stepCtx, worker)) return await waitForReplica(stepCtx, worker);
    worker.lease ??= await takeLease(stepCtx, `${JOB_LEASE}${worker.job.id}`, worker.holder, LEASE_SECONDS);
    const begin = performance.now();
    const batch = worker.lease && (await runBatch(stepCtx, worker.lease, worker.job, worker.pace.size));
    if (batch) advance(worker, batch, performance.now() - begin);
    else await waitForTurn(stepCtx, worker);
  } catch (error) {
    // The lease may have ended meanwhile. Taking it again keeps its epoch if not.
    worker.lease = undefined;
    worker.pace = afterFailure(worker.pace, error);
    worker.waitingSince = Date.now();
  }
}

async function isReplicaLagging(ctx: Context, worker: Worker): Promise<boolean> {
  if (Date.now() - worker.loadReadAt < LOAD_CHECK_MS) return false;
  worker.load = await readDatabaseLoad(ctx);
  if (worker.load.lagMs > MAX_REPLICA_LAG_MS) return true;
  worker.loadReadAt = Date.now();
  return false;
}

async function waitForReplica(ctx: Context, worker: Worker): Promise<void> {
  count('BulkAssignWaitsForReplica');
  worker.pace = { ...worker.pace, restMs: LOAD_CHECK_MS };
  worker.waitingSince = Date.now();
  worker.job = await findJob(ctx, worker.job.id);
}

/** Releases the lease of a job that cannot run, so that whoever looks for a job next finds it free. */
async function waitForTurn(ctx: Context, worker: Worker): Promise<void> {
  if (worker.lease) await releaseLease(ctx, worker.lease);
  worker.lease = undefined;
  worker.pace = { ...worker.pace, restMs: ASK_AGAIN_MS };
  worker.job = await findJob(ctx, worker.job.id);
}

function advance(worker: Worker, batch: Batch, ms: number): void {
  const { job, moved, stayed, skipped, size } = batch;
  log.info('bulk-assign batch', {
    job: job.id,
    state: job.state,
    moved,
    stayed,
    skipped,
    size,
    ms,
    progress: job.progress,
  });
  measure({ BulkAssignMoved: moved, BulkAssignSkipped: skipped, BulkAssignBatchMs: ms, BulkAssignBatchSize: size });
  worker.pace = afterBatch(worker.pace, { size, devices: moved + stayed + skipped, ms, busy: worker.load.busy });
  worker.job = job;
  worker.waitingSince = Date.now();
}

/**
 * The pace after a batch that failed and can be repeated.
 * @throws the error when a repetition does not solve it
 */
function afterFailure(pace: Pace, error: unknown): Pace {
  // 23503: a broker was deleted while the batch ran. The next batch finds out which.
  if ((error as { code?: unknown }).code === '23503') return pace;
  if (!(error instanceof Problem) || error.code !== 'database-unavailable') throw error;
  return isTimeout(error.cause) ? afterTimeout(pace) : { ...pace, restMs: LOAD_CHECK_MS };
}
