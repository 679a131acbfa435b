import type { Fragment, Sql } from '../database/db.ts';

/** SQL: the name of the broker with this id, also of a deleted one. NULL: none, or it was deleted before names were kept. */
export function brokerName(sql: Sql, id: Fragment): Fragment {
  return sql`
    coalesce((select named.name from mqtt_broker_config named where named.id = ${id}),
             (select named.name from deleted_brokers named where named.id = ${id}))`;
}
