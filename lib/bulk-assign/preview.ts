import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { matchesFilter } from './filter-sql.ts';
import type { NewJob } from './input.ts';
import { type Target, targetBroker, targetProblem } from './target.ts';

const SAMPLE = 10;

const brokerId = z.nullable(z.int());

export const previewReply = z.object({
  dry_run: z.literal(true),
  target: z.object({ mqtt_broker_id: brokerId }),
  would_move: z.int(),
  by_broker: z.array(z.object({ mqtt_broker_id: brokerId, name: z.nullable(z.string()), devices: z.int() })),
  sample: z.array(z.object({ uuid: z.string(), fleet_id: z.nullable(z.string()), mqtt_broker_id: brokerId })),
  unknown_uuids: z.optional(
    z.array(z.string()).check(z.meta({ description: 'The uuids of the filter that no device has' })),
  ),
});

type Row = {
  target: Target | null;
  by_broker: { mqtt_broker_id: number | null; name: string | null; devices: number }[];
  sample: { uuid: string; fleet_id: string | null; mqtt_broker_id: number | null }[];
  unknown_uuids: string[];
};

/**
 * What a job would do: how many devices would move, from which brokers, and a sample of them. Writes nothing.
 * @throws Problem for the target as `createJob` does
 */
export async function preview(ctx: Context, { filter, target: { mqtt_broker_id: requested } }: NewJob) {
  const [row] = await query<Row>(ctx, (sql) => {
    const matched = sql`
      from devices d where d.mqtt_broker_id is distinct from (select id from target) and ${matchesFilter(sql, filter)}`;
    return sql`
      with target as (${targetBroker(sql, requested)}), by_broker as (
        select d.mqtt_broker_id, count(*)::integer as devices ${matched} group by d.mqtt_broker_id
      ), sample as (
        select d.uuid::text as uuid, d.fleet_id, d.mqtt_broker_id ${matched} order by d.id limit ${SAMPLE}
      ), unknown as (
        select named from unnest(${filter.uuids ?? null}::text[]) as named
        where not exists (select from devices d where d.uuid = berth_uuid(named))
      )
      select (select row_to_json(target) from target) as target,
             (select coalesce(json_agg(json_build_object(
                'mqtt_broker_id', m.mqtt_broker_id, 'name', b.name, 'devices', m.devices) order by m.devices desc), '[]')
              from by_broker m left join mqtt_broker_config b on b.id = m.mqtt_broker_id) as by_broker,
             (select coalesce(json_agg(sample), '[]') from sample) as sample,
             (select coalesce(json_agg(named), '[]') from unknown) as unknown_uuids`;
  });
  const { target, by_broker, sample, unknown_uuids } = row as Row;
  if (requested !== null && (!target || target.refusal)) throw targetProblem(target, requested);
  return {
    dry_run: true as const,
    target: { mqtt_broker_id: target?.id ?? null },
    would_move: by_broker.reduce((sum, { devices }) => sum + devices, 0),
    by_broker,
    sample,
    ...(filter.uuids ? { unknown_uuids } : {}),
  };
}
