import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import { isHeld, type Lease } from '../database/leases.ts';
import { recordJobEvents } from '../events/record.ts';
import { NO_KEY } from '../resolution/alike.ts';
import { closeFormer, leaveBroker } from '../resolution/leave.ts';
import { halved, isTimeout, minuteShare } from './pace.ts';
import { type Job, jobColumns } from './row.ts';
import { runnableJobs } from './runnable-jobs.ts';
import { devicesPassed, devicesToMove, devicesToMoveBack, pairsThatStay } from './window.ts';

/** What a batch did, and the job after it. `stayed`: got an assignment to the broker that they resolved to already. */
export type Batch = { job: Job; moved: number; stayed: number; skipped: number; size: number };
type Row = Job & { batch_moved: number; batch_stayed: number; batch_skipped: number };

/** How long a job stays with a worker that died. */
export const LEASE_SECONDS = 2;
/** Short, because a batch that waits for a lock holds locks itself. */
const LOCK_TIMEOUT_MS = 100;
/** How many ids a batch looks at per device, so that a filter that matches few devices makes no batch long. */
const IDS_PER_DEVICE = 20;
/** A job without a batch for so long has had no worker. A worker rests for a second at most. */
const IDLE_AFTER_SECONDS = 3;

/**
 * Takes the next window of a job's devices, moves the ones that may be moved, records what happened to each, advances the job
 * and renews the lease. All of it is one statement, so a worker that is killed at any point leaves whole batches behind.
 * When the statement is repeated after a lost reply, it processes the next window.
 *
 * @param size number of devices; halved when the statement is repeated after a lock timeout or statement timeout
 * @returns undefined when the job cannot run now: it has ended, is queued, waits for `max_per_minute`, or the lease is lost
 */
export async function runBatch(ctx: Context, lease: Lease, job: Job, size: number): Promise<Batch | undefined> {
  let tried = size;
  const [row] = await query<Row>(ctx, (sql, failure) => {
    if (isTimeout(failure)) tried = halved(tried);
    return batchStatement(sql, ctx, lease, job, tried);
  });
  if (!row) return undefined;
  const { batch_moved, batch_stayed, batch_skipped, ...after } = row;
  return { job: after, moved: batch_moved, stayed: batch_stayed, skipped: batch_skipped, size: tried };
}

function batchStatement(sql: Sql, ctx: Context, lease: Lease, job: Job, size: number) {
  const { limit, gapMs } = minuteShare(size, job.max_per_minute);
  // Named devices are found by their index, however far apart they are.
  const ids = job.filter.uuids ? Number.MAX_SAFE_INTEGER : size * IDS_PER_DEVICE;
  const window = job.reverts_job_id === null ? devicesToMove(sql, job.filter, limit) : devicesToMoveBack(sql, limit);
  return sql<Row[]>`
    with job as materialized (
      select j.id, j.created_at, j.created_by, j.cursor_id, j.end_id, j.target_broker_id, j.reverts_job_id,
             j.last_batch_at, j.next_batch_at,
             least(j.end_id, j.cursor_id + ${ids}::bigint) as window_end,
             case when j.target_broker_id is null then null
                  when target.id is null then 'broker-not-found'
                  else 'broker-' || target.refusal end as failure,
             -- Applies to everything below, which reads this row first; ends with the statement.
             set_config('lock_timeout', ${String(LOCK_TIMEOUT_MS)}, true)
      from bulk_assign_jobs j
      join leases lease on ${isHeld(sql, lease)}
      left join mqtt_broker_config target on target.id = j.target_broker_id
      where j.id = ${job.id} and j.state in ('queued', 'running') and j.next_batch_at <= now()
        and j.id in (select id from (${runnableJobs(sql)}) runnable)
      for update of j, lease skip locked
    ), picked as materialized (
      ${window}
    ), moved as (
      -- Postgres evaluates the conditions on d again on the newest version of a row that somebody else is changing.
      update devices d
      set mqtt_broker_id = picked.to_broker_id, mqtt_broker_assigned_at = now(), modified_at = berth_now(),
          ${leaveBroker(sql)}
          ${job.close_former ? sql`, ${closeFormer(sql)}` : sql``}
      from picked
      where d.id = picked.device_id and picked.skip_reason is null
        and d.mqtt_broker_id is not distinct from picked.from_broker_id
        and (d.mqtt_broker_assigned_at is null or d.mqtt_broker_assigned_at <= picked.job_created_at)
      returning d.id
    ), staying as materialized (
      ${pairsThatStay(sql)}
    ), outcomes as (
      -- In the select list, these become hashes. As a join it is planned for one row: 430 ms for 2,000 devices instead of 57.
      select picked.*, coalesce(picked.device_id in (select id from moved), false) as is_moved,
             (coalesce(from_broker_id, 0), coalesce(to_broker_id, 0), coalesce(provisioned_by_key_id, ${NO_KEY}::uuid))
               in (select from_id, to_id, key_id from staying) as stays
      from picked
    ), recorded as (
      ${recordJobEvents(
        sql,
        ctx,
        sql`
          select case when is_moved then 'moved' else 'skipped' end as type, device_uuid, device_id, fleet_id,
                 case when not is_moved then coalesce(skip_reason, 'changed-since')
                      when stays then 'already-there'
                      when job.reverts_job_id is null then 'bulk-assign'
                      else 'revert' end as reason,
                 from_broker_id, to_broker_id, job.created_by as actor, job.id as job_id, outcomes.cursor_id as ordinal
          from job cross join outcomes`,
      )}
    ), totals as (
      select count(*) filter (where type = 'moved' and reason <> 'already-there')::integer as moved,
             count(*) filter (where reason = 'already-there')::integer as stayed,
             count(*) filter (where type = 'skipped')::integer as skipped
      from recorded
    ), next as (
      select case when count(*) < ${limit}::integer then (select window_end from job) else max(cursor_id) end as cursor_id
      from picked
    ), passed as (
      ${devicesPassed(sql, job)}
    ), pause as (
      select extract(epoch from now() - greatest(last_batch_at, next_batch_at)) as seconds from job
    ), renewed as (
      update leases
      set until = greatest(clock_timestamp(), now() + make_interval(secs => ${gapMs / 1000}::float8))
                  + make_interval(secs => ${LEASE_SECONDS}::float8)
      from job, totals
      where leases.name = ${lease.name}
    )
    update bulk_assign_jobs j
    set state = case when job.failure is not null then 'failed'
                     when next.cursor_id >= job.end_id then 'finished'
                     else 'running' end,
        failure = job.failure,
        cursor_id = case when job.failure is null then next.cursor_id else j.cursor_id end,
        started_at = coalesce(j.started_at, now()),
        last_batch_at = clock_timestamp(),
        ended_at = case when job.failure is not null or next.cursor_id >= job.end_id then clock_timestamp() end,
        idle_ms = j.idle_ms + case when j.started_at is not null and pause.seconds > ${IDLE_AFTER_SECONDS} then pause.seconds * 1000 else 0 end,
        moved = j.moved + totals.moved,
        already_there = j.already_there + totals.stayed + case when job.failure is null then passed.devices else 0 end,
        skipped = j.skipped + totals.skipped,
        batches = j.batches + 1,
        batch_size = ${size},
        next_batch_at = now() + make_interval(
          secs => case when totals.moved + totals.stayed > 0 then ${gapMs / 1000}::float8 else 0 end)
    from job, totals, next, passed, pause
    where j.id = job.id
    returning ${jobColumns(sql)}, totals.moved as batch_moved, totals.stayed as batch_stayed,
      totals.skipped as batch_skipped`;
}
