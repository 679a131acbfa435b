import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import type { listKeysQuery } from './input.ts';
import { type ListedKey, listedColumns } from './row.ts';

/**
 * A page of a fleet's provisioning keys, or of all, newest first, without keys and hashes.
 * @returns the page, and the id of its last key when there are more
 */
export async function listProvisioningKeys(
  ctx: Context,
  { fleetId, limit = 1000, after }: z.output<typeof listKeysQuery>,
) {
  const rows = await query<ListedKey>(ctx, (sql) => {
    // Of the table, not the reply's text. Old rows may have none.
    const createdAt = sql`coalesce(k.created_at, 'infinity')`;
    // Two subqueries, because Postgres searches no index for one with two columns.
    const place = sql`(select ${createdAt} from provisioning_keys k where id = ${after ?? null}), ${after ?? null}::uuid`;
    return sql`
      select ${listedColumns(sql)}
      from provisioning_keys k
      where ${fleetId === undefined ? sql`true` : sql`k.fleet_id = ${fleetId}`}
        and ${after === undefined ? sql`true` : sql`(${createdAt}, k.id) < (${place})`}
      order by ${createdAt} desc, k.id desc
      limit ${limit + 1}`;
  });
  const keys = rows.slice(0, limit);
  const lastId = rows.length > limit ? keys.at(-1)?.id : undefined;
  return { fleet_id: fleetId ?? null, count: keys.length, keys, lastId };
}
