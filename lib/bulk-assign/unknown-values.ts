import * as z from 'zod/mini';
import type { Fragment, Sql } from '../database/db.ts';
import type { Filter } from './input.ts';

/** The members of a filter whose values nothing has. */
export type UnknownValues = Pick<Filter, 'fleet_id' | 'broker_id' | 'device_type' | 'region' | 'tags' | 'uuids'>;

export const unknownValuesReply = z.nullable(z.record(z.string(), z.unknown())).check(
  z.meta({
    description:
      'The values of the filter that do not exist: a fleet without devices and provisioning keys, a broker, a type, a region, tags that no device has, uuids. Null: all exist',
  }),
);

/** SQL: the {@link UnknownValues} of a filter as jsonb; NULL: every value exists. */
export function unknownValues(sql: Sql, { fleet_id, broker_id, device_type, region, tags, uuids }: Filter): Fragment {
  const members = sql`
    'fleet_id', case
      when not exists (select from devices where fleet_id = ${fleet_id ?? null})
       and not exists (select from provisioning_keys where fleet_id = ${fleet_id ?? null}) then ${fleet_id ?? null}::text end,
    'broker_id', case
      when not exists (select from mqtt_broker_config where id = ${broker_id ?? null}::integer) then ${broker_id ?? null}::integer end,
    'device_type', case
      when not exists (select from devices where device_type = ${device_type ?? null}) then ${device_type ?? null}::text end,
    'region', case when not exists (select from devices where region = ${region ?? null}) then ${region ?? null}::text end,
    'tags', (
      select jsonb_object_agg(tag.key, tag.value) from jsonb_each_text(${tags ? sql.json(tags) : null}::jsonb) tag
      where not exists (select from berth_tagged(jsonb_build_object(tag.key, tag.value), 1))),
    'uuids', (
      select jsonb_agg(named) from unnest(${uuids ?? null}::text[]) named
      where not exists (select from devices d where d.uuid = berth_uuid(named)))`;
  return sql`nullif(jsonb_strip_nulls(jsonb_build_object(${members})), '{}')`;
}

/**
 * A sentence about a filter that matches no device, or names uuids that no device has. Null: there is nothing to say.
 * @param matches whether a device matches; undefined: not known yet
 */
export function noticeOf(filter: Filter, unknown: UnknownValues | null, matches: boolean | undefined): string | null {
  const { uuids, ...others } = unknown ?? {};
  const cannotMatch = Object.keys(others).length > 0 || (uuids !== undefined && uuids.length === filter.uuids?.length);
  const reasons = reasonsOf(filter, unknown ?? {});
  if (matches === false || (matches === undefined && cannotMatch)) {
    return `No device matches the filter${reasons.length > 0 ? `: ${reasons.join(', and ')}` : ''}.`;
  }
  return reasons.length > 0 ? `Of the filter, ${reasons.join(', and ')}.` : null;
}

function reasonsOf({ uuids }: Filter, { uuids: unknownUuids, ...unknown }: UnknownValues): string[] {
  const { fleet_id, broker_id, device_type, region, tags = {} } = unknown;
  return [
    ...(fleet_id === undefined ? [] : [`there is no fleet ${JSON.stringify(fleet_id)}`]),
    ...(broker_id === undefined ? [] : [`there is no broker ${broker_id}`]),
    ...(device_type === undefined ? [] : [`no device has the type ${JSON.stringify(device_type)}`]),
    ...(region === undefined ? [] : [`no device is in the region ${JSON.stringify(region)}`]),
    ...Object.entries(tags).map(([name, value]) => `no device has the tag ${JSON.stringify(`${name}:${value}`)}`),
    ...(unknownUuids ? [`${unknownUuids.length} of ${uuids?.length} uuids are unknown`] : []),
  ];
}
