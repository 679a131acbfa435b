import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { countDevices } from './count-devices.ts';

/** Counts the devices of all brokers and stores the numbers. A count that began earlier replaces no later one. */
export async function storeCounts(ctx: Context): Promise<void> {
  const { countedAt, byBroker } = await countDevices(ctx, true);
  const counts = [...byBroker].map(([broker_id, counts]) => ({ broker_id, ...counts }));
  await query(
    ctx,
    (sql) => sql`
      with gone as (
        delete from broker_counts where broker_id not in (select id from mqtt_broker_config)
      )
      insert into broker_counts as stored (
        broker_id, assigned, active_assigned, resolved, active, following_default, behind, counted_at)
      select b.id, coalesce(c.assigned, 0), coalesce(c.active_assigned, 0), coalesce(c.resolved, 0), coalesce(c.active, 0),
             coalesce(c.following_default, 0), coalesce(c.behind, 0), ${countedAt}
      from mqtt_broker_config b
      left join jsonb_to_recordset(${sql.json(counts)}) as c (
        broker_id integer, assigned integer, active_assigned integer, resolved integer, active integer,
        following_default integer, behind integer) on c.broker_id = b.id
      order by b.id
      on conflict (broker_id) do update
      set assigned = excluded.assigned, active_assigned = excluded.active_assigned, resolved = excluded.resolved,
          active = excluded.active, following_default = excluded.following_default, behind = excluded.behind,
          counted_at = excluded.counted_at
      where stored.counted_at < excluded.counted_at`,
  );
}
