import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { isBehind } from '../resolution/behind.ts';
import { followingDefault } from './default-dependents.ts';
import type { listBrokersQuery } from './input.ts';
import { brokerPage, type Page, pageOf } from './list.ts';
import { listedBroker, listedColumns } from './row.ts';

const asText = (name: string) => z.string().check(z.meta({ description: `${name} as the legacy service has it` }));

/** A broker with its counts; the legacy service's two are strings, and there again as numbers. */
export const summarisedBroker = z.extend(listedBroker, {
  device_count: asText('assigned_count'),
  active_device_count: asText('active_assigned_count'),
  assigned_count: z.int().check(z.meta({ description: 'Devices assigned to it' })),
  active_assigned_count: z.int().check(z.meta({ description: 'Those of them that are active' })),
  following_default_count: z
    .int()
    .check(z.meta({ description: 'Devices that are here because it is the default; 0 for others' })),
  behind_count: z.int().check(z.meta({ description: 'Devices that belong to it and were last handed other settings' })),
});

/** A page of brokers as {@link listBrokers} has it, with how many devices are assigned to each or follow it. */
export async function summariseBrokers(ctx: Context, page: z.output<typeof listBrokersQuery>) {
  const rows = await query<Page>(
    ctx,
    (sql) => sql`
      select ${listedColumns(sql)},
             coalesce(assigned.total, 0)::text as device_count,
             coalesce(assigned.active, 0)::text as active_device_count,
             coalesce(assigned.total, 0)::integer as assigned_count,
             coalesce(assigned.active, 0)::integer as active_assigned_count,
             case when b.is_default then ${followingDefault(sql)} else 0 end as following_default_count,
             coalesce(behind.total, 0)::integer as behind_count
      from ${brokerPage(sql, page)} b
      left join (
        select mqtt_broker_id, count(*) as total, count(*) filter (where is_active) as active
        from devices where mqtt_broker_id is not null
        group by mqtt_broker_id
      ) assigned on assigned.mqtt_broker_id = b.id
      left join (
        select b.id as broker_id, sum(d.devices) as total
        from (
          select mqtt_broker_id, provisioned_by_key_id, handed_broker_id, handed_settings, count(*) as devices
          from devices where handed_broker_id is not null
          group by mqtt_broker_id, provisioned_by_key_id, handed_broker_id, handed_settings
        ) d
        cross join lateral berth_resolved(null, d.mqtt_broker_id, d.provisioned_by_key_id, false) resolved
        join mqtt_broker_config b on b.id = resolved.broker_id
        where ${isBehind(sql)}
        group by b.id
      ) behind on behind.broker_id = b.id
      order by (b.is_default is true) desc, b.name`,
  );
  return pageOf(rows, page);
}
