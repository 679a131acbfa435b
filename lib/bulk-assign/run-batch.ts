import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { matchingAssignment, matchingDevice } from './filter-sql.ts';
import { type Filter, type Job, jobColumns } from './input.ts';

/** What one batch did, and the job after it. */
export type Batch = { job: Job; moved: number; skipped: number; size: number };

export const MIN_SIZE = 100;
/** Jobs that are worked on at the same time; the others queue. */
const JOBS_AT_ONCE = 2;
/** How long a job stays with a worker that doesn't come back. */
const LEASE_SECONDS = 2;
/** A batch holds locks itself, so it doesn't wait long for those of others. */
const LOCK_TIMEOUT_MS = 100;
/** Ids looked at per device wanted, so that a filter that fits few devices makes no batch long. */
const IDS_PER_DEVICE = 20;

/**
 * Takes the job's next window of devices, moves those that may be moved, records what happened to each, and
 * advances the job: all of it in one statement, so a worker killed at any point leaves a whole number of
 * batches behind. Counts and cursor live in the job's row alone. Run again after a lost reply, it does
 * the next window.
 *
 * @param worker names the caller; while its lease lasts nobody else gets the job
 * @param size devices wanted; halved when the statement is repeated after a lock or statement timeout
 * @returns undefined when the job isn't to be had: ended, queued behind others, another worker's, or
 *   resting for `max_per_minute`
 */
export async function runBatch(ctx: Context, worker: string, job: Job, size: number): Promise<Batch | undefined> {
  let next = size;
  let tried = size;
  const [row] = await query<Job & { batch_moved: number; batch_skipped: number }>(ctx, (sql) => {
    tried = next;
    next = Math.max(MIN_SIZE, Math.floor(tried / 2));
    return batchStatement(sql, ctx, { worker, job, size: tried });
  });
  if (!row) return undefined;
  const { batch_moved, batch_skipped, ...after } = row;
  return { job: after, moved: batch_moved, skipped: batch_skipped, size: tried };
}

type Parts = { worker: string; job: Job; size: number };

function batchStatement(sql: Sql, ctx: Context, { worker, job, size }: Parts) {
  const { limit, gapMs } = share(size, job.max_per_minute);
  // Named devices are found by their index, however far apart.
  const span = job.filter.uuids ? sql`j.end_id` : sql`least(j.end_id, j.cursor_id + ${size * IDS_PER_DEVICE}::integer)`;
  const window = job.reverts_job_id === null ? filterWindow(sql, job, limit) : revertWindow(sql, limit);
  return sql<(Job & { batch_moved: number; batch_skipped: number })[]>`
    with job as materialized (
      select j.id, j.created_at, j.created_by, j.cursor_id, j.end_id, j.target_broker_id, j.reverts_job_id,
             ${span} as upper_id, ${failure(sql)} as failure,
             -- Holds from here on, as all that follows reads this row first; ends with the statement.
             set_config('lock_timeout', ${String(LOCK_TIMEOUT_MS)}, true)
      from bulk_assign_jobs j
      where j.id = ${job.id} and j.state in ('queued', 'running') and j.next_batch_at <= now()
        and (j.worker = ${worker} or j.leased_until < now())
        and j.id in (
          select id from bulk_assign_jobs where state in ('queued', 'running') order by id limit ${JOBS_AT_ONCE})
      for update of j skip locked
    ), picked as materialized (
      ${window}
    ), moved as (
      -- The conditions on d are judged again on the newest version of a row that somebody changes just now.
      update devices d
      set mqtt_broker_id = picked.to_broker_id, mqtt_broker_assigned_at = now(), modified_at = now() at time zone 'utc'
      from picked
      where d.id = picked.device_id and picked.skip_reason is null
        and d.mqtt_broker_id is not distinct from picked.from_broker_id
        and (d.mqtt_broker_assigned_at is null or d.mqtt_broker_assigned_at <= picked.job_created_at)
      returning d.id
    ), told as (
      -- In the select list, where it becomes a hash: as a join it would be planned for one row, and be quadratic.
      select picked.*, coalesce(picked.device_id in (select id from moved), false) as is_moved from picked
    ), recorded as (
      insert into device_events (
        type, device_uuid, device_id, fleet_id, actor, reason, from_broker_id, to_broker_id, job_id, request_id)
      select case when is_moved then 'moved' else 'skipped' end, told.uuid, told.device_id, told.fleet_id, job.created_by,
             case when not is_moved then coalesce(told.skip_reason, 'changed-since')
                  when job.reverts_job_id is null then 'bulk-assign' else 'revert' end,
             told.from_broker_id, told.to_broker_id, job.id, ${ctx.requestId}
      from job cross join told
      order by told.key
      returning type
    ), tally as (
      select count(*) filter (where type = 'moved')::integer as moved,
             count(*) filter (where type = 'skipped')::integer as skipped
      from recorded
    ), reach as (
      select case when count(*) < ${limit}::integer then (select upper_id from job) else max(key) end as id from picked
    )
    update bulk_assign_jobs j
    set state = case when job.failure is not null then 'failed' when reach.id >= job.end_id then 'finished' else 'running' end,
        failure = job.failure,
        cursor_id = case when job.failure is null then reach.id else j.cursor_id end,
        started_at = coalesce(j.started_at, now()),
        last_batch_at = clock_timestamp(),
        ended_at = case when job.failure is not null or reach.id >= job.end_id then clock_timestamp() end,
        moved = j.moved + tally.moved,
        skipped = j.skipped + tally.skipped,
        batches = j.batches + 1,
        batch_size = ${size},
        worker = ${worker},
        next_batch_at = now() + make_interval(secs => case when tally.moved > 0 then ${gapMs / 1000}::float8 else 0 end),
        leased_until = greatest(clock_timestamp(), now() + make_interval(secs => ${gapMs / 1000}::float8))
                       + make_interval(secs => ${LEASE_SECONDS}::float8)
    from job, tally, reach
    where j.id = job.id
    returning ${jobColumns(sql)}, tally.moved as batch_moved, tally.skipped as batch_skipped`;
}

/**
 * How many devices one batch may move, and how long after its start the next may start, so that no 60
 * seconds see more than `perMinute`.
 */
export function share(size: number, perMinute: number | null): { limit: number; gapMs: number } {
  if (perMinute === null) return { limit: size, gapMs: 0 };
  const limit = Math.min(size, Math.max(1, Math.floor(perMinute / 60)));
  return { limit, gapMs: 60_000 / Math.floor(perMinute / limit) };
}

/** SQL for why job `j` can't go on; null when it can. A revert judges each device's broker by itself. */
function failure(sql: Sql): Fragment {
  return sql`
    case when j.reverts_job_id is null and j.target_broker_id is not null then (
      select case when b.id is null then 'broker-not-found'
                  when b.is_active is not true then 'broker-inactive'
                  when not b.accepts_new_devices then 'broker-draining' end
      from (select) as one left join mqtt_broker_config b on b.id = j.target_broker_id) end`;
}

/** The next devices that fit the filter and are not at the target. */
function filterWindow(sql: Sql, { filter }: Job, limit: number): Fragment {
  return sql`
    select d.id::bigint as key, d.id as device_id, d.uuid::text as uuid, d.fleet_id,
           d.mqtt_broker_id as from_broker_id, (select target_broker_id from job) as to_broker_id,
           (select created_at from job) as job_created_at,
           case when d.mqtt_broker_assigned_at > (select created_at from job) then 'changed-since' end as skip_reason
    from devices d
    where d.id > (select cursor_id from job) and d.id <= (select upper_id from job)
      and (select failure from job) is null
      and d.mqtt_broker_id is distinct from (select target_broker_id from job)
      and ${matchingDevice(sql, filter)} and (${matchingAssignment(sql, filter)} or ${leftMeanwhile(sql, filter)})
    order by d.id
    limit ${limit}`;
}

/** SQL for "device `d` had the assignment that the filter asks for when the job was made, and was moved since". */
function leftMeanwhile(sql: Sql, { unassigned, broker_id }: Filter): Fragment {
  if (!unassigned && broker_id === undefined) return sql`false`;
  return sql`(
    d.mqtt_broker_assigned_at > (select created_at from job) and exists (
      select from device_events e
      where (e.device_uuid = d.uuid::text and e.job_id is null or e.device_id = d.id and e.job_id is not null)
        and e.at > (select created_at from job)
        and e.type = 'moved' and e.from_broker_id is not distinct from ${broker_id ?? null}::integer))`;
}

/** The next devices that the reverted job moved, each with the way back. */
function revertWindow(sql: Sql, limit: number): Fragment {
  return sql`
    select e.id as key, e.device_id, e.device_uuid as uuid, d.fleet_id,
           d.mqtt_broker_id as from_broker_id, e.from_broker_id as to_broker_id,
           (select created_at from job) as job_created_at,
           case when d.id is null then 'device-deleted'
                when d.mqtt_broker_id is distinct from e.to_broker_id
                  or d.mqtt_broker_assigned_at > (select created_at from job) then 'changed-since'
                when e.from_broker_id is not null and b.id is null then 'broker-deleted'
                when e.from_broker_id is not null and b.is_active is not true then 'broker-inactive' end as skip_reason
    from device_events e
    left join devices d on d.id = e.device_id
    left join mqtt_broker_config b on b.id = e.from_broker_id
    where e.job_id = (select reverts_job_id from job) and e.type = 'moved'
      and e.id > (select cursor_id from job) and e.id <= (select upper_id from job)
    order by e.id
    limit ${limit}`;
}
