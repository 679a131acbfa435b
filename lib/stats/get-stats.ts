import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { invalidRequest, Problem } from '../errors.ts';
import { KEPT_HOURS, type Resolution } from './kept.ts';

const HOUR_MS = 3_600_000;
const STEP_MS: Record<Resolution, number> = { minute: 60_000, hour: HOUR_MS };
/** What is shown without `from`. */
const DEFAULT_MS: Record<Resolution, number> = { minute: 3 * HOUR_MS, hour: 7 * 24 * HOUR_MS };
const MAX_POINTS = 1_000;
const MAX_BROKERS = 1_000;
const MAX_WARNINGS = 20;

function timeText(description: string) {
  return z.pipe(
    z.iso
      .datetime({ offset: true, message: 'must be a time such as 2026-01-31T12:00:00Z' })
      .check(z.meta({ description, pattern: undefined })),
    z.transform((value) => new Date(value)),
  );
}

export const statsQuery = z.strictObject({
  resolution: z.optional(
    z
      .enum(['minute', 'hour'], { message: 'must be minute or hour' })
      .check(z.meta({ description: 'Of the points. Default: minute' })),
  ),
  from: z.optional(timeText('Default: 3 hours before `to`, 7 days with `resolution=hour`')),
  to: z.optional(timeText('Default: now')),
});

const counted = (description: string) => z.nullable(z.int()).check(z.meta({ description }));

export const statsReply = z.object({
  generated_at: z.string(),
  resolution: z.enum(['minute', 'hour']),
  from: z.string().check(z.meta({ description: 'Minutes are kept for 48 hours, hours for 90 days' })),
  to: z.string().check(z.meta({ description: 'Events after this time are not counted yet, or not asked for' })),
  brokers: z
    .array(
      z.object({
        id: z.int(),
        name: z.string(),
        resolved: counted('Devices that belong to it. Null here and below: not counted yet'),
        behind: counted('Those of them that were last handed other settings'),
        active: counted('Those of them that are active'),
        counted_at: z.nullable(z.string()).check(z.meta({ description: 'A schedule counts every minute' })),
      }),
    )
    .check(z.meta({ description: 'The first 1,000, the default first, then by name' })),
  keys: z
    .array(
      z.object({
        id: z.string(),
        fleet_id: z.string(),
        description: z.nullable(z.string()),
        devices_provisioned: z.int(),
        max_devices: z.nullable(z.int()),
        expires_at: z.string(),
      }),
    )
    .check(
      z.meta({
        description:
          'Provisioning keys that need attention: those that expire within 14 days, and those in use of which less than a tenth is left. At most 20',
      }),
    ),
  certificates: z
    .array(
      z.object({
        broker_id: z.int(),
        broker_name: z.string(),
        of: z.enum(['server', 'ca_cert', 'client_cert']),
        subject: z.string(),
        expires_at: z.string(),
        seen_at: z.string().check(z.meta({ description: 'A schedule checks every 6 hours' })),
      }),
    )
    .check(z.meta({ description: 'Certificates that expire within 30 days, or have expired. At most 20' })),
  points: z.array(
    z.object({
      at: z.string().check(z.meta({ description: 'The begin of the minute or hour' })),
      registered: z.int(),
      replayed: z.null().check(z.meta({ description: 'Not recorded; the metric `RegistrationReplayed` counts them' })),
      moved: z.int().check(z.meta({ description: 'Devices that changed their broker, by operators and jobs' })),
      refused: z
        .record(z.string(), z.int())
        .check(z.meta({ description: 'By code, as recorded: at most 20 of a kind in 15 minutes' })),
    }),
  ),
});
export type Stats = z.output<typeof statsReply>;
type Point = Stats['points'][number];

type EventCount = { at_ms: number; kind: 'registered' | 'moved' | 'refused'; code: string; events: number };
type Found = Pick<Stats, 'brokers' | 'keys' | 'certificates'> & { counts: EventCount[]; counted_at: Date | null };

/**
 * What the schedule has counted: devices by broker, and events by minute or hour, oldest first.
 * @throws Problem `invalid-request` when the range is empty or has more than 1,000 points
 */
export async function getStats(ctx: Context, asked: z.output<typeof statsQuery>): Promise<Stats> {
  const { resolution = 'minute' } = asked;
  const { from, to } = rangeOf(asked, resolution);
  const [found] = await query<Found>(
    ctx,
    (sql) => sql`
      select
        (select coalesce(json_agg(broker), '[]') from (
           select b.id, b.name, c.resolved, c.behind, c.active, c.counted_at
           from mqtt_broker_config b left join broker_counts c on c.broker_id = b.id
           order by (b.is_default is true) desc, b.name limit ${MAX_BROKERS}) broker) as brokers,
        (select coalesce(json_agg(key), '[]') from (
           select id, fleet_id, description, coalesce(devices_provisioned, 0) as devices_provisioned, max_devices,
                  expires_at at time zone 'utc' as expires_at
           from provisioning_keys
           where is_active and expires_at > berth_now()
             and (expires_at < berth_now() + interval '14 days'
                  or last_used_at > berth_now() - interval '7 days' and coalesce(devices_provisioned, 0) > 0.9 * max_devices)
           order by expires_at, id limit ${MAX_WARNINGS}) key) as keys,
        (select coalesce(json_agg(certificate), '[]') from (
           select c.broker_id, b.name as broker_name, c.of, c.subject, c.expires_at, c.seen_at
           from broker_certificates c join mqtt_broker_config b on b.id = c.broker_id and b.is_active and b.protocol in ('mqtts', 'wss')
           where c.expires_at < now() + interval '30 days'
           order by c.expires_at, c.broker_id, c.of limit ${MAX_WARNINGS}) certificate) as certificates,
        (select coalesce(json_agg(count), '[]') from (
           select extract(epoch from at) * 1000 as at_ms, kind, code, events from event_counts
           where resolution = ${resolution} and at >= ${new Date(from)} and at < ${new Date(to)}) count) as counts,
        (select counted_at from event_counting) as counted_at`,
  );
  const { brokers, keys, certificates, counts, counted_at } = found as Found;
  const end = Math.min(to, counted_at?.getTime() ?? from);
  return {
    generated_at: new Date().toISOString(),
    resolution,
    from: new Date(from).toISOString(),
    to: new Date(Math.max(from, end)).toISOString(),
    brokers: brokers.map((broker) => ({ ...broker, counted_at: broker.counted_at && isoOf(broker.counted_at) })),
    keys: keys.map((key) => ({ ...key, expires_at: isoOf(key.expires_at) })),
    certificates: certificates.map((one) => ({
      ...one,
      expires_at: isoOf(one.expires_at),
      seen_at: isoOf(one.seen_at),
    })),
    points: pointsOf(counts, from, end, STEP_MS[resolution]),
  };
}

const isoOf = (time: string) => new Date(time).toISOString();

/** The range in epoch milliseconds, beginning with a whole minute or hour that is kept. */
function rangeOf({ from, to }: z.output<typeof statsQuery>, resolution: Resolution) {
  const step = STEP_MS[resolution];
  const now = Date.now();
  const end = to?.getTime() ?? now;
  const begin = Math.floor((from?.getTime() ?? end - DEFAULT_MS[resolution]) / step) * step;
  if (begin >= end) throw invalidRange('must be before to');
  if (end - begin > MAX_POINTS * step) {
    throw invalidRange(`must be at most ${MAX_POINTS} points (of a ${resolution} each) before to`);
  }
  const kept = Math.ceil((now - KEPT_HOURS[resolution] * HOUR_MS) / step) * step;
  return { from: Math.max(begin, kept), to: Math.min(end, now) };
}

function invalidRange(message: string): Problem {
  return new Problem(invalidRequest, `from ${message}`, { errors: [{ path: 'from', message }] });
}

/** A point for each minute or hour that begins before `end`, also without events. */
function pointsOf(counts: EventCount[], from: number, end: number, step: number): Point[] {
  const points: Point[] = [];
  for (let at = from; at < end; at += step) {
    points.push({ at: new Date(at).toISOString(), registered: 0, replayed: null, moved: 0, refused: {} });
  }
  for (const { at_ms, kind, code, events } of counts) {
    const point = points[(at_ms - from) / step];
    if (!point) continue;
    if (kind === 'refused') point.refused[code] = events;
    else point[kind] = events;
  }
  return points;
}
