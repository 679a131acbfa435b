import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import type { listKeysQuery } from './input.ts';

/**
 * A page of a fleet's provisioning keys, newest first, without keys and hashes.
 * @returns the page, and the id of its last key when there are more
 */
export async function listProvisioningKeys(
  ctx: Context,
  { fleetId, limit = 1000, after }: z.output<typeof listKeysQuery>,
) {
  const rows = await query<{ id: string }>(ctx, (sql) => {
    // Of the table, not the reply's text. Old rows may have none.
    const createdAt = sql`coalesce(provisioning_keys.created_at, 'infinity')`;
    return sql`
      select id::text, fleet_id, description, max_devices, devices_provisioned,
             expires_at at time zone 'utc' as expires_at, is_active, created_at at time zone 'utc' as created_at,
             created_by, last_used_at at time zone 'utc' as last_used_at, default_broker_id
      from provisioning_keys
      where fleet_id = ${fleetId}
        and ${
          after === undefined
            ? sql`true`
            : sql`(${createdAt}, id) < (select ${createdAt}, id from provisioning_keys where id = ${after})`
        }
      order by ${createdAt} desc, id desc
      limit ${limit + 1}`;
  });
  const keys = rows.slice(0, limit);
  return { fleet_id: fleetId, count: keys.length, keys, lastId: rows.length > limit ? keys.at(-1)?.id : undefined };
}
