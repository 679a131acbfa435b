import type { Fragment, Sql } from '../database/db.ts';

/** SQL: the name of the broker with this id, also of a deleted one. NULL: none, or it was deleted before names were kept. */
export function brokerName(sql: Sql, id: Fragment): Fragment {
  return sql`
    coalesce((select named.name from mqtt_broker_config named where named.id = ${id}),
             (select named.name from deleted_brokers named where named.id = ${id}))`;
}

/** SQL for FROM: id, name of all brokers, also of deleted ones. For many rows, where {@link brokerName} would search for each. */
export function brokerNames(sql: Sql): Fragment {
  return sql`
    (select id, name from mqtt_broker_config
     union all
     select id, name from deleted_brokers gone where not exists (select from mqtt_broker_config b where b.id = gone.id))`;
}
