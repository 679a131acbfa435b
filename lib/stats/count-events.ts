import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { kept } from './kept.ts';

/** Ids that one statement looks at. It takes about 50 ms. */
const BATCH = 20_000;
/** How long a run waits for transactions that were writing events when it began, and how often it looks. */
const PATIENCE_MS = 2_000;
const PAUSE_MS = 100;
/** After this time a statement is repeated. It may pass the end of the run's time. */
const STEP_MS = 5_000;

/** `settle`: waits for writers; `count`: more to count; `marked`: all was counted, and there is a new mark. */
type Step = { counted: number; next: 'settle' | 'count' | 'marked' };

/**
 * Counts the events that were recorded since the last run, by minute and hour, each exactly once. What was recorded before
 * this run began is counted when it ends, unless a transaction that writes events is open: then the next run counts it.
 *
 * @param size number of ids that one statement looks at
 * @returns the number of events that were counted
 */
export async function countEvents(ctx: Context, size = BATCH): Promise<number> {
  const old = await countUpToMark(ctx, size);
  // Now there is a mark of this run, unless another run is at it.
  if (!old.isMarked || Date.now() >= ctx.deadline) return old.counted;
  return old.counted + (await countUpToMark(ctx, size)).counted;
}

async function countUpToMark(ctx: Context, size: number): Promise<{ counted: number; isMarked: boolean }> {
  const patience = Date.now() + PATIENCE_MS;
  for (let counted = 0; ; ) {
    const step = await countStep(ctx, size);
    counted += step?.counted ?? 0;
    // No step: another run has made it, and continues.
    const isOver = !step || Date.now() >= ctx.deadline || (step.next === 'settle' && Date.now() >= patience);
    if (isOver || step.next === 'marked') return { counted, isMarked: step?.next === 'marked' };
    if (step.next === 'settle') await sleep(PAUSE_MS);
  }
}

/**
 * One unit of work: finds out whether the mark has settled, or counts the next ids up to it, and sets the next mark when it is
 * reached. The update of the row is the claim: a run that is overtaken counts nothing, and a repetition makes the next step.
 */
async function countStep(ctx: Context, size: number): Promise<Step | undefined> {
  const [step] = await query<Step>(
    { ...ctx, deadline: Date.now() + STEP_MS },
    (sql) => sql`
      with writer as materialized (
        select virtualtransaction as id from pg_locks
        where relation = 'device_events'::regclass and mode = 'RowExclusiveLock' and granted
          and database = (select oid from pg_database where datname = current_database())
      ), next as materialized (
        select *, has_settled and upto_id = marked_id as is_reached
        from event_counting
        cross join lateral (
          select case when has_settled then least(marked_id, counted_id + ${size}::integer) else counted_id end as upto_id) u
      ), claimed as (
        update event_counting c
        set step = c.step + 1,
            counted_id = next.upto_id,
            counted_at = case when is_reached then next.marked_at else c.counted_at end,
            marked_id = case when is_reached then greatest(next.marked_id, (select max(id) from device_events)) else c.marked_id end,
            marked_at = case when is_reached then now() else c.marked_at end,
            writers = case when is_reached then array(select id from writer) else c.writers end,
            has_settled = not is_reached
              and (next.has_settled or not exists (select from writer where writer.id = any(next.writers)))
        from next
        where c.step = next.step
        returning next.counted_id as after_id, next.upto_id, is_reached, c.has_settled
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
      select (select count(*)::integer from event) as counted,
             case when is_reached then 'marked' when has_settled then 'count' else 'settle' end as next
      from claimed`,
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
