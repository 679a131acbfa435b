import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { isBehind } from '../resolution/behind.ts';

/** Devices that one statement counts. It takes about 200 ms. */
const SLICE = 200_000;

/** Numbers of devices: assigned to the broker, and (`resolved` to `behind`) that belong to it, whatever step decides. */
export type DeviceCounts = {
  assigned: number;
  active_assigned: number;
  resolved: number;
  active: number;
  following_default: number;
  behind: number;
};
export type CountedDevices = { countedAt: Date; byBroker: Map<number, DeviceCounts> };

type Slice = { began_at: Date; last_id: number; is_last: boolean; counts: ({ broker_id: number } & DeviceCounts)[] };

/**
 * Counts all devices once, by broker. In slices of ids, so that no statement is long however many there are: a device that
 * changes meanwhile is counted once, before or after the change.
 *
 * @param rests rest after each slice for as long as it took, so that devices' requests keep their latency
 * @returns the brokers that have devices
 */
export async function countDevices(ctx: Context, rests = false, size = SLICE): Promise<CountedDevices> {
  const byBroker: CountedDevices['byBroker'] = new Map();
  let countedAt: Date | undefined;
  for (let after = 0; ; ) {
    const begin = Date.now();
    const { began_at, last_id, is_last, counts } = await countSlice(ctx, after, size);
    countedAt ??= began_at;
    for (const { broker_id, ...more } of counts) add(byBroker, broker_id, more);
    if (is_last) return { countedAt, byBroker };
    after = last_id;
    if (rests) await sleep(Date.now() - begin);
  }
}

function add(byBroker: CountedDevices['byBroker'], brokerId: number, more: DeviceCounts): void {
  const before = byBroker.get(brokerId);
  const names = Object.keys(more) as (keyof DeviceCounts)[];
  const sums = names.map((name) => [name, (before?.[name] ?? 0) + more[name]]);
  byBroker.set(brokerId, Object.fromEntries(sums));
}

async function countSlice(ctx: Context, after: number, size: number): Promise<Slice> {
  const [slice] = await query<Slice>(
    ctx,
    (sql) => sql`
      with bound as materialized (
        select (select id from devices where id > ${after} order by id offset ${size - 1}::integer limit 1) as id
      ), alike as materialized (
        -- Few groups stand for all devices.
        select mqtt_broker_id, provisioned_by_key_id, handed_broker_id, handed_settings, is_active, count(*)::integer as devices
        from devices
        where id > ${after} and id <= coalesce((select id from bound), 2147483647)
        group by mqtt_broker_id, provisioned_by_key_id, handed_broker_id, handed_settings, is_active
      ), counted as (
        select mqtt_broker_id as broker_id, devices as assigned, case when is_active then devices else 0 end as active_assigned,
               0 as resolved, 0 as active, 0 as following_default, 0 as behind
        from alike where mqtt_broker_id is not null
        union all
        select b.id, 0, 0, devices, case when coalesce(d.is_active, true) then devices else 0 end,
               case when resolved.source = 'default' then devices else 0 end, case when ${isBehind(sql)} then devices else 0 end
        from alike d
        cross join lateral berth_resolved(null, d.mqtt_broker_id, d.provisioned_by_key_id, false) resolved
        join mqtt_broker_config b on b.id = resolved.broker_id
      ), sums as (
        select broker_id, sum(assigned) as assigned, sum(active_assigned) as active_assigned, sum(resolved) as resolved,
               sum(active) as active, sum(following_default) as following_default, sum(behind) as behind
        from counted group by broker_id
      )
      select now() as began_at, bound.id as last_id, bound.id is null as is_last,
             (select coalesce(json_agg(sums), '[]') from sums) as counts
      from bound`,
  );
  return slice as Slice;
}
