import type { Fragment, Sql } from '../database/db.ts';
import { oneColumns } from './row.ts';

/**
 * SQL: the row `b` as the history of operators has it: JSON without secrets, which says only whether one is stored. What
 * changes without an operator is left out.
 */
export function recordedBroker(sql: Sql): Fragment {
  return sql`
    (select to_jsonb(shown) - '{id,created_at,updated_at,last_connected_at}'::text[]
     from (select ${oneColumns(sql)}, b.closed_to_former_at) shown)`;
}

/**
 * SQL: the event of the broker in `former`, the row of the former default after another broker has become the default.
 * @param isClosed whether closed_to_former_at was set with it; what it was before is not known then
 */
export function formerDefaultEvent(sql: Sql, isClosed = false): Fragment {
  const unknown = isClosed ? ['closed_to_former_at'] : [];
  return sql`
    select 'default-changed' as type, b.id, b.name, null as reason,
           (${recordedBroker(sql)} || '{"is_default": true}') - ${unknown}::text[] as before, ${recordedBroker(sql)} as after
    from former b`;
}
