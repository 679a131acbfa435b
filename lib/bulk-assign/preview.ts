import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { devicesAlike, kindOf } from '../resolution/alike.ts';
import { matchesFilter } from './filter-sql.ts';
import type { NewJob } from './input.ts';
import { type Target, targetBroker, targetProblem } from './target.ts';
import { noticeOf, type UnknownValues, unknownValues, unknownValuesReply } from './unknown-values.ts';

const SAMPLE = 10;

const brokerId = z.nullable(z.int());

export const previewReply = z.object({
  dry_run: z.literal(true),
  target: z.object({ mqtt_broker_id: brokerId, name: z.nullable(z.string()) }),
  would_move: z.int().check(z.meta({ description: 'Devices that match and would have another broker' })),
  already_there: z.int().check(z.meta({ description: 'Devices that match and resolve to the target already' })),
  by_broker: z.array(z.object({ mqtt_broker_id: brokerId, name: z.nullable(z.string()), devices: z.int() })),
  sample: z.array(z.object({ uuid: z.string(), fleet_id: z.nullable(z.string()), mqtt_broker_id: brokerId })),
  unknown: unknownValuesReply,
  notice: z.nullable(z.string()),
});

type Row = {
  target: Target | null;
  by_broker: { mqtt_broker_id: number | null; name: string | null; devices: number }[];
  sample: { uuid: string; fleet_id: string | null; mqtt_broker_id: number | null }[];
  already_there: number;
  unknown: UnknownValues | null;
};

/**
 * What a job would do: how many devices would move, from which brokers, and a sample of them. Writes nothing.
 * @throws Problem for the target as `createJob` does
 */
export async function preview(ctx: Context, { filter, target: { mqtt_broker_id: requested } }: NewJob) {
  const [row] = await query<Row>(
    ctx,
    (sql) => sql`
      with target as (${targetBroker(sql, requested)}), kinds as materialized (
        -- Resolved once for the devices that are alike.
        select alike.*, before.broker_id is distinct from after.broker_id as moves
        from ${devicesAlike(sql, matchesFilter(sql, filter))} alike
        left join target on true
        left join lateral berth_resolved(null, alike.mqtt_broker_id, alike.provisioned_by_key_id, false) before on true
        left join lateral berth_resolved(null, target.id, alike.provisioned_by_key_id, false) after on true
      ), by_broker as (
        select mqtt_broker_id, sum(devices)::integer as devices from kinds where moves group by mqtt_broker_id
      ), sample as (
        select d.uuid::text as uuid, d.fleet_id, d.mqtt_broker_id
        from devices d
        where ${matchesFilter(sql, filter)} and (${kindOf(sql)}) in (select ${kindOf(sql)} from kinds d where d.moves)
        order by d.id limit ${SAMPLE}
      )
      select (select row_to_json(target) from target) as target,
             (select coalesce(json_agg(json_build_object(
                'mqtt_broker_id', m.mqtt_broker_id, 'name', b.name, 'devices', m.devices) order by m.devices desc), '[]')
              from by_broker m left join mqtt_broker_config b on b.id = m.mqtt_broker_id) as by_broker,
             (select coalesce(sum(devices), 0)::integer from kinds where not moves) as already_there,
             (select coalesce(json_agg(sample), '[]') from sample) as sample,
             ${unknownValues(sql, filter)} as unknown`,
  );
  const { target, by_broker, already_there, sample, unknown } = row as Row;
  if (requested !== null && (!target || target.refusal)) throw targetProblem(target, requested);
  const wouldMove = by_broker.reduce((sum, { devices }) => sum + devices, 0);
  return {
    dry_run: true as const,
    target: { mqtt_broker_id: target?.id ?? null, name: target?.name ?? null },
    would_move: wouldMove,
    already_there,
    by_broker,
    sample,
    unknown,
    notice: noticeOf(filter, unknown, wouldMove + already_there > 0),
  };
}
