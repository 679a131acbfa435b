import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { deviceUuid, integerText, MAX_INTEGER, requiredText, rowUuid } from '../fields.ts';
import { brokerName } from './broker-name.ts';
import { deviceIds } from './device-ids.ts';
import { EVENT_TYPES, type EventType, OPERATOR_EVENT_TYPES, type OperatorEventType } from './record.ts';

/** How many events of devices a page looks at for a filter without an index. It takes about 30 ms. */
const WINDOW = 20_000;
const KINDS = ['device', 'operator'] as const;

export const historyQuery = z.strictObject({
  limit: z.optional(integerText(1, 200, 'Events per page. Default: 50')),
  before: z.optional(
    integerText(1, Number.MAX_SAFE_INTEGER, 'Events before this id; `next` of the previous page has it'),
  ),
  kind: z.optional(
    z
      .enum(KINDS, { message: 'must be device or operator' })
      .check(z.meta({ description: 'Of devices, or what operators did with brokers, keys and jobs. Default: both' })),
  ),
  type: z.optional(z.enum([...EVENT_TYPES, ...OPERATOR_EVENT_TYPES], { message: 'must be the type of an event' })),
  actor: z.optional(requiredText(500, 'Who did it, such as `admin` or `schedule`')),
  broker_id: z.optional(integerText(1, MAX_INTEGER, 'Of this broker, and of devices that came to it or left it')),
  key_id: z.optional(rowUuid),
  job_id: z.optional(integerText(1, MAX_INTEGER, 'Of this job, and of devices by this job')),
  device_uuid: z.optional(deviceUuid),
});
type Filter = z.output<typeof historyQuery>;

const values = (description: string) => z.nullable(z.record(z.string(), z.unknown())).check(z.meta({ description }));

export const historyEvent = z.object({
  id: z.int(),
  at: z.string(),
  type: z.string(),
  actor: z.nullable(z.string()),
  target: z.object({
    kind: z.enum(['broker', 'key', 'job', 'device']),
    id: z.union([z.int(), z.string()]).check(z.meta({ description: 'Of a key its id, of a device its uuid' })),
    name: z.nullable(z.string()).check(z.meta({ description: 'Of a broker or a key as it was then' })),
  }),
  before: values('What differs, as it was. Null: nothing, or the target did not exist'),
  after: values(
    'The same members afterwards, without secrets; what is longer than 1,000 characters as its SHA-256. Of a test its result',
  ),
  reason: z.nullable(z.string()),
  job_id: z.nullable(z.int()).check(z.meta({ description: 'The job that did it to the device' })),
  source_ip: z.nullable(z.string()),
  request_id: z.nullable(z.string()),
});

type Values = Record<string, unknown> | null;
type Row = {
  id: number;
  at: Date;
  type: EventType | OperatorEventType;
  actor: string | null;
  target_kind: 'broker' | 'key' | 'job' | 'device';
  target_id: string | null;
  target_name: string | null;
  before: Values;
  after: Values;
  reason: string | null;
  job_id: number | null;
  source_ip: string | null;
  request_id: string | null;
  fleet_id: string | null;
  from_broker_id: number | null;
  from_broker_name: string | null;
  to_broker_id: number | null;
  to_broker_name: string | null;
};
/** `floor`: the page ends at this id, because it has looked at enough events; 0: it has looked at all. */
type Found = { floor: number } & (Row | { id: null });

/**
 * The history of devices and operators, newest first. Filters of device events without an index look at {@link WINDOW} events,
 * so a page may have fewer than `limit` events although more follow, or none.
 *
 * @returns the page, and `before` of the next one when more may follow
 */
export async function listHistory(ctx: Context, { limit = 50, ...filter }: Filter) {
  const found = await query<Found>(ctx, (sql) => historyStatement(sql, filter, limit + 1));
  const rows = found.filter((row): row is Found & Row => row.id !== null);
  const items = rows.slice(0, limit).map(formatEvent);
  const floor = found[0]?.floor || undefined;
  return { items, lastId: rows.length > limit ? items.at(-1)?.id : floor };
}

function historyStatement(sql: Sql, filter: Filter, limit: number) {
  return sql<Found[]>`
    with device_event as (
      ${deviceEvents(sql, filter, limit)}
    ), place as (
      select case when (select count(*) from device_event) = ${limit}::integer then 0
                  else coalesce((${windowEnd(sql, filter)}), 0) end as floor
    ), event as (
      select id, at, type, actor, 'device' as target_kind, device_uuid as target_id, device_id, null as target_name,
             null::jsonb as before, null::jsonb as after, reason, job_id, source_ip, request_id, fleet_id, from_broker_id,
             to_broker_id
      from device_event
      union all
      (${operatorEvents(sql, filter, limit)})
      order by id desc
      limit ${limit}
    )
    select place.floor::float8 as floor, event.id::float8 as id, at, type, actor, target_kind, target_id,
           coalesce(target_name, (select d.device_name from devices d where d.id = event.device_id)) as target_name,
           before, after, reason, job_id, source_ip, request_id, fleet_id,
           from_broker_id, ${brokerName(sql, sql`from_broker_id`)} as from_broker_name,
           to_broker_id, ${brokerName(sql, sql`to_broker_id`)} as to_broker_name
    from place left join event on true
    order by event.id desc`;
}

function operatorEvents(sql: Sql, { kind, device_uuid, ...filter }: Filter, limit: number): Fragment {
  const target = (kind: string, id: number | string | undefined) =>
    id === undefined ? sql`` : sql`and target_kind = ${kind} and target_id = ${String(id)}`;
  return sql`
    select o.id, at, type, actor, target_kind, target_id, null::integer, target_name, before, after, reason, null::integer,
           source_ip, request_id, null, null::integer, null::integer
    from operator_events o
    where ${kind !== 'device' && device_uuid === undefined} and o.id >= (select floor from place) ${filter.before === undefined ? sql`` : sql`and o.id < ${filter.before}`}
      ${filter.type === undefined ? sql`` : sql`and type = ${filter.type}`}
      ${filter.actor === undefined ? sql`` : sql`and actor = ${filter.actor}`}
      ${target('broker', filter.broker_id)} ${target('key', filter.key_id)} ${target('job', filter.job_id)}
    order by o.id desc
    limit ${limit}`;
}

function deviceEvents(sql: Sql, filter: Filter, limit: number): Fragment {
  const { type, actor, broker_id: broker } = filter;
  const most = isWindowed(filter) ? WINDOW : isNarrowed(filter) ? undefined : limit;
  return sql`
    select * from (${indexedDeviceEvents(sql, filter, most)}) e
    where true
      ${type === undefined ? sql`` : sql`and type = ${type}`}
      ${actor === undefined ? sql`` : sql`and actor = ${actor}`}
      ${broker === undefined ? sql`` : sql`and (from_broker_id = ${broker} or to_broker_id = ${broker})`}
    order by id desc
    limit ${limit}`;
}

/** SQL: the id at which the window of a filter without an index ends; no row: it reaches all events. */
function windowEnd(sql: Sql, filter: Filter): Fragment {
  if (!isWindowed(filter)) return sql`select 0`;
  return sql`select id from (${indexedDeviceEvents(sql, filter, WINDOW)}) e order by id desc offset ${WINDOW - 1} limit 1`;
}

/** Whether the filter has members without an index. */
function isNarrowed({ type, actor, broker_id }: Filter): boolean {
  return [type, actor, broker_id].some((member) => member !== undefined);
}

/** Whether a page looks at {@link WINDOW} events only. All events of one device are few. */
function isWindowed(filter: Filter): boolean {
  return filter.device_uuid === undefined && isNarrowed(filter);
}

/**
 * SQL: the newest events of devices that the members with an index select.
 * @param most undefined: all of them
 */
function indexedDeviceEvents(sql: Sql, filter: Filter, most: number | undefined): Fragment {
  const { kind, type, key_id, job_id, device_uuid: uuid } = filter;
  const isOfOperators = type !== undefined && !(EVENT_TYPES as readonly string[]).includes(type);
  if (kind === 'operator' || key_id !== undefined || isOfOperators) {
    return sql`select * from device_events where false`;
  }
  const end = most === undefined ? sql`` : sql`limit ${most}`;
  if (uuid === undefined && job_id !== undefined) {
    // A range in the order of the index by job. For an equation, Postgres may go through all events by id instead.
    return sql`
      select * from device_events e where e.job_id >= ${job_id} and e.job_id <= ${job_id} ${olderThan(sql, filter)}
      order by e.job_id desc, e.id desc ${end}`;
  }
  const job = job_id === undefined ? sql`` : sql`and e.job_id = ${job_id}`;
  const page = sql`${job} ${olderThan(sql, filter)} order by e.id desc ${end}`;
  if (uuid === undefined) return sql`select * from device_events e where true ${page}`;
  return sql`
    (select e.* from device_events e where e.device_uuid = ${uuid} and e.job_id is null ${page})
    union all
    (select e.* from (${deviceIds(sql, uuid)}) device join device_events e on e.device_id = device.id and e.job_id is not null
     where true ${page})`;
}

function olderThan(sql: Sql, { before }: Filter): Fragment {
  return before === undefined ? sql`` : sql`and e.id < ${before}`;
}

function formatEvent(row: Row) {
  const { id, at, type, actor, target_kind: kind, target_id, target_name: name, reason, job_id } = row;
  const isNumber = kind === 'broker' || kind === 'job';
  return {
    ...{ id, at, type, actor },
    target: { kind, id: isNumber ? Number(target_id) : (target_id ?? ''), name },
    ...(kind === 'device' ? valuesOfDevice(row) : { before: row.before, after: row.after }),
    ...{ reason, job_id, source_ip: row.source_ip, request_id: row.request_id },
  };
}

/** What an event of a device says of the device before and after. */
function valuesOfDevice(row: Row): { before: Values; after: Values } {
  const from = { mqtt_broker_id: row.from_broker_id, mqtt_broker_name: row.from_broker_name };
  const to = { mqtt_broker_id: row.to_broker_id, mqtt_broker_name: row.to_broker_name };
  if (row.type === 'moved') return { before: from, after: to };
  if (row.type === 'registered') return { before: null, after: { fleet_id: row.fleet_id, ...to } };
  if (row.type === 'fleet-changed') return { before: null, after: { fleet_id: row.fleet_id } };
  return { before: null, after: null };
}
