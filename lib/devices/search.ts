import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';

/**
 * Matches that are found by index and read. With more of them, reading the devices in the order of ids soon meets enough for
 * a page: with 1,000,000 devices after 20,000 on average.
 */
const FEW = 5_000;
/** After every character of a name. */
const LAST = '\u{10ffff}';

/** SQL: whether the device `d` matches. */
export type Match = (sql: Sql) => Fragment;

/**
 * Finds devices whose uuid or name begins with a text; names in any case, RFC 4122 uuids too. Two statements, because
 * whether few devices match decides how to read them, and a prepared statement has one plan for both.
 *
 * @returns the condition for a list of devices
 */
export async function searchDevices(ctx: Context, search: string): Promise<Match> {
  const found = await query<{ id: string }>(
    ctx,
    (sql) => sql`
      (select id::text from devices where berth_uuid_begins(uuid, ${search}) limit ${FEW + 1})
      union
      (select id::text from devices where berth_uuid_begins(uuid, lower(${search})) limit ${FEW + 1})
      union
      (select id::text from devices
       where lower(device_name) ~>=~ lower(${search}) and lower(device_name) ~<~ (lower(${search}) || ${LAST})
       limit ${FEW + 1})`,
  );
  if (found.length <= FEW) return (sql) => sql`d.id = any(${found.map(({ id }) => id)}::text[]::integer[])`;
  return (sql) => sql`(
    starts_with(d.uuid::text, ${search}) or starts_with(d.uuid::text, lower(${search}))
    or starts_with(lower(d.device_name), lower(${search})))`;
}
