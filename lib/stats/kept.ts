import type { Fragment, Sql } from '../database/db.ts';

/** How long counts are kept, by resolution. A panel shows minutes for today and yesterday. */
export const KEPT_HOURS = { minute: 48, hour: 90 * 24 } as const;
export type Resolution = keyof typeof KEPT_HOURS;

/** SQL for FROM, with its alias `r`: resolution, kept (an interval). */
export function kept(sql: Sql): Fragment {
  const { minute, hour } = KEPT_HOURS;
  return sql`
    (values ('minute', make_interval(hours => ${minute}::integer)), ('hour', make_interval(hours => ${hour}::integer))) r (resolution, kept)`;
}
