import type { Context } from '../context.ts';
import { query } from '../database/db.ts';

/** What a worker has to give way to. */
export type Surroundings = {
  /** How far the slowest replica is behind, in milliseconds. */
  lagMs: number;
  /** Whether another session has done something in the last 2 seconds. */
  busy: boolean;
};

/**
 * Looks what else the database is doing. A role that may not see other roles' sessions (grant it
 * `pg_read_all_stats`) takes them for busy, and replicas for up to date.
 */
export async function lookAround(ctx: Context): Promise<Surroundings> {
  const [row] = await query<{ lag_ms: number; busy: boolean }>(
    ctx,
    (sql) => sql`
      select
        (select coalesce(max(extract(epoch from replay_lag) * 1000), 0)::float8 from pg_stat_replication) as lag_ms,
        exists (
          select from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid()
            and (backend_type = 'client backend' or backend_type is null)
            and coalesce(state_change, now()) > now() - interval '2 seconds') as busy`,
  );
  return { lagMs: row?.lag_ms ?? 0, busy: row?.busy ?? true };
}
