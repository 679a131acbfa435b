import type { Context } from '../context.ts';
import { type Fragment, query, type Sql, type Statement } from '../database/db.ts';
import type { Tags } from '../fields.ts';

/**
 * Matches that are found by index and read. With more of them, reading the devices in the order of ids soon meets enough for
 * a page: with 1,000,000 devices after 20,000 on average.
 */
const FEW = 5_000;
/** After every character of a name. */
const LAST = '\u{10ffff}';

/** SQL: whether the device `d` matches. */
type Match = (sql: Sql) => Fragment;
type Found = ReturnType<Statement<{ id: string }>>;

/**
 * Finds devices whose uuid or name begins with a text; names in any case, RFC 4122 uuids too.
 * @returns the condition for a list of devices
 */
export function searchDevices(ctx: Context, search: string): Promise<Match> {
  return fewOrMany(
    ctx,
    (sql) => sql`
      (select id::text from devices where berth_uuid_begins(uuid, ${search}) limit ${FEW + 1})
      union
      (select id::text from devices where berth_uuid_begins(uuid, lower(${search})) limit ${FEW + 1})
      union
      (select id::text from devices
       where lower(device_name) ~>=~ lower(${search}) and lower(device_name) ~<~ (lower(${search}) || ${LAST})
       limit ${FEW + 1})`,
    (sql) => sql`(
      starts_with(d.uuid::text, ${search}) or starts_with(d.uuid::text, lower(${search}))
      or starts_with(lower(d.device_name), lower(${search})))`,
  );
}

/**
 * Finds devices that have all of these tags.
 * @returns the condition for a list of devices
 */
export function taggedDevices(ctx: Context, tags: Tags): Promise<Match> {
  return fewOrMany(
    ctx,
    (sql) => sql`select id::text from berth_tagged(${sql.json(tags)}, ${FEW + 1}) id`,
    // Not true, but `is true`: the index would deliver all devices for each page.
    (sql) => sql`(d.tags @> ${sql.json(tags)}::jsonb) is true`,
  );
}

/** Two statements, because how many devices match decides how to read them, and a prepared statement has one plan. */
async function fewOrMany(ctx: Context, find: (sql: Sql) => Found, many: Match): Promise<Match> {
  const found = await query(ctx, find);
  return found.length > FEW ? many : (sql) => sql`d.id = any(${found.map(({ id }) => id)}::text[]::integer[])`;
}
