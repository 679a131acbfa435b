import type { Context } from '../context.ts';
import { query } from '../database/db.ts';

/** What a worker gives way to. */
export type DatabaseLoad = {
  /** Lag of the slowest replica, in milliseconds. */
  lagMs: number;
  /** Whether another session was active in the last 2 seconds. */
  busy: boolean;
};

/**
 * Reads what else the database is doing. A role that cannot see other roles' sessions (grant it `pg_read_all_stats`)
 * counts them as busy and replicas as up to date.
 */
export async function readDatabaseLoad(ctx: Context): Promise<DatabaseLoad> {
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
