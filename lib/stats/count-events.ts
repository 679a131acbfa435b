import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { kept } from './kept.ts';

/** Ids that one statement looks at. It takes about 50 ms. */
const BATCH = 20_000;
/** A transaction that has taken an id has committed by then, as a rule. */
const SETTLING_MS = 1_000;
/** After this time a statement is repeated. It may pass the end of the run's time. */
const STEP_MS = 5_000;

type Step = { counted: number; is_settled: boolean; is_last: boolean };

/**
 * Counts the events that were recorded since the last run, by minute and hour, each exactly once. What was recorded before
 * this run began is counted when it ends, unless a transaction is open: then the next run counts it.
 *
 * @param size number of ids that one statement looks at
 * @returns the number of events that were looked at
 */
export async function countEvents(ctx: Context, size = BATCH): Promise<number> {
  const old = await countUpToMark(ctx, size);
  if (Date.now() >= ctx.deadline) return old;
  // Now there is a mark of this run.
  await sleep(SETTLING_MS);
  return old + (await countUpToMark(ctx, size));
}

async function countUpToMark(ctx: Context, size: number): Promise<number> {
  let counted = 0;
  for (;;) {
    const step = await countStep(ctx, size);
    counted += step?.counted ?? 0;
    // No step: another run has counted meanwhile, and continues.
    if (!step?.is_settled || step.is_last || Date.now() >= ctx.deadline) return counted;
  }
}

/**
 * One unit of work: counts the next ids up to the mark, and sets the next mark when it is reached. The update of the row is
 * the claim, so a run that is overtaken counts nothing, and a repetition counts what follows.
 */
async function countStep(ctx: Context, size: number): Promise<Step | undefined> {
  const [step] = await query<Step>(
    { ...ctx, deadline: Date.now() + STEP_MS },
    (sql) => sql`
      with mark as materialized (
        select counted_id, marked_id, marked_xid, marked_at,
               -- Every transaction that had taken an id up to the mark had written before, so its number is lower.
               marked_xid < pg_snapshot_xmin(pg_current_snapshot()) as is_settled,
               -- The rows come from another server, which counts transactions differently.
               marked_xid > pg_current_xact_id() as is_foreign
        from event_counting
      ), next as materialized (
        select *, upto_id = marked_id and is_settled as is_reached
        from mark
        cross join lateral (
          select case when is_settled then least(marked_id, counted_id + ${size}::integer) else counted_id end as upto_id) u
      ), claimed as (
        update event_counting c
        set counted_id = next.upto_id,
            counted_at = case when is_reached then next.marked_at else c.counted_at end,
            marked_id = case when is_reached or is_foreign
              then greatest(next.marked_id, (select max(id) from device_events)) else c.marked_id end,
            marked_xid = case when is_reached or is_foreign then pg_current_xact_id() else c.marked_xid end,
            marked_at = case when is_reached or is_foreign then now() else c.marked_at end
        from next
        where c.counted_id = next.counted_id and c.marked_xid = next.marked_xid
        returning next.counted_id as after_id, next.upto_id, next.is_settled, next.is_reached
      ), event as materialized (
        select e.at, e.type as kind, case when e.type = 'refused' then coalesce(e.reason, '') else '' end as code
        from claimed join device_events e on e.id > claimed.after_id and e.id <= claimed.upto_id
        where e.type in ('registered', 'refused')
           or e.type = 'moved' and e.reason is distinct from 'already-there'
      ), stored as (
        insert into event_counts as c (resolution, at, kind, code, events)
        select r.resolution, date_trunc(r.resolution, event.at, 'UTC'), event.kind, event.code, count(*)
        from event join ${kept(sql)} on event.at > now() - r.kept
        group by 1, 2, 3, 4
        on conflict (resolution, at, kind, code) do update set events = c.events + excluded.events
      )
      select (select count(*)::integer from event) as counted, is_settled, is_reached as is_last from claimed`,
  );
  return step;
}

/** Removes the counts that are no longer kept. */
export async function removeOldCounts(ctx: Context): Promise<void> {
  await query(
    { ...ctx, deadline: Date.now() + STEP_MS },
    (sql) => sql`
      delete from event_counts c using ${kept(sql)} where c.resolution = r.resolution and c.at < now() - r.kept`,
  );
}
