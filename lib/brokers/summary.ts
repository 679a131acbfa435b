import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { type CountedDevices, countDevices, type DeviceCounts } from './count-devices.ts';
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
  counted_at: z.nullable(z.string()).check(
    z.meta({
      description:
        'When the devices were counted; a schedule does it every minute. Null: the broker was added since, and its counts are 0',
    }),
  ),
});

/** Older counts are not shown: the schedule does not run. */
const MAX_AGE_SECONDS = 120;

type StoredRow = { broker_id: number; counted_at: Date } & DeviceCounts;

/**
 * A page of brokers as {@link listBrokers} has it, with how many devices are assigned to each or follow it. The counts are
 * those of the schedule. If it has not run for two minutes, the devices are counted now: the legacy service's clients need numbers.
 */
export async function summariseBrokers(ctx: Context, page: z.output<typeof listBrokersQuery>) {
  const stored = await storedCounts(ctx);
  const counted = stored ?? (await countDevices(ctx));
  const rows = await query<Page & { id: number }>(
    ctx,
    (sql) => sql`
      select ${listedColumns(sql)} from ${brokerPage(sql, page)} b order by (b.is_default is true) desc, b.name`,
  );
  const summarised = rows.map((row) => ({ ...row, ...countsOf(counted, row.id, stored !== undefined) }));
  return pageOf(summarised, page);
}

async function storedCounts(ctx: Context): Promise<CountedDevices | undefined> {
  const rows = await query<StoredRow>(
    ctx,
    (sql) => sql`
      select * from broker_counts where counted_at > now() - make_interval(secs => ${MAX_AGE_SECONDS}::float8)`,
  );
  const [first] = rows;
  return first && { countedAt: first.counted_at, byBroker: new Map(rows.map((row) => [row.broker_id, row])) };
}

function countsOf({ countedAt, byBroker }: CountedDevices, brokerId: number, isStored: boolean) {
  const counts = byBroker.get(brokerId);
  return {
    device_count: String(counts?.assigned ?? 0),
    active_device_count: String(counts?.active_assigned ?? 0),
    assigned_count: counts?.assigned ?? 0,
    active_assigned_count: counts?.active_assigned ?? 0,
    following_default_count: counts?.following_default ?? 0,
    behind_count: counts?.behind ?? 0,
    // Each broker that was there has a stored row.
    counted_at: counts || !isStored ? countedAt : null,
  };
}
