import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { log } from '../log.ts';
import { measure } from '../metrics.ts';
import { settings } from '../settings/settings.ts';

/** Events that one statement looks at. It takes about 50 ms. */
const BATCH = 5_000;
/** After this time a statement is repeated. Kept free at the end of the run. */
const BATCH_DEADLINE_MS = 5_000;

type Batch = { last_id: number; purged: number; is_last: boolean };

/**
 * Removes the events that are older than EVENT_RETENTION_DAYS, except those that the revert of a job needs. Events of
 * operators are kept for a year at least. Rests between batches for as long as they take. The next run continues what this
 * one has no time for.
 *
 * @param size number of events that one statement looks at
 */
export async function purgeEvents(ctx: Context, size = BATCH): Promise<void> {
  const days = settings().eventRetentionDays;
  let purged = await purgeOperatorEvents(ctx, days, size);
  for (let after = 0; ; ) {
    const begin = Date.now();
    const [batch] = await query<Batch>(
      { ...ctx, deadline: begin + BATCH_DEADLINE_MS },
      (sql) => sql`
        select last_id::float8 as last_id, purged, is_last
        from berth_purge_events(${after}, ${days}, ${size})`,
    );
    purged += batch?.purged ?? 0;
    const restMs = Date.now() - begin;
    if (!batch || batch.is_last || Date.now() + restMs + BATCH_DEADLINE_MS >= ctx.deadline) break;
    after = batch.last_id;
    await sleep(restMs);
  }
  log.info('events purged', { purged, days });
  measure({ EventsPurged: purged });
}

/** Few, so it does not rest. */
async function purgeOperatorEvents(ctx: Context, days: number, size: number): Promise<number> {
  let purged = 0;
  for (let last = size; last === size && Date.now() + BATCH_DEADLINE_MS < ctx.deadline; purged += last) {
    const [batch] = await query<{ purged: number }>(
      { ...ctx, deadline: Date.now() + BATCH_DEADLINE_MS },
      (sql) => sql`select berth_purge_operator_events(${days}, ${size}) as purged`,
    );
    last = batch?.purged ?? 0;
  }
  return purged;
}
