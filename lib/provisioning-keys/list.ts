import type { Context } from '../context.ts';
import { query } from '../database/db.ts';

/** The provisioning keys of a fleet, newest first, without keys and hashes. */
export async function listProvisioningKeys(ctx: Context, fleetId: string) {
  const keys = await query(
    ctx,
    (sql) => sql`
      select id::text, fleet_id, description, max_devices, devices_provisioned,
             expires_at at time zone 'utc' as expires_at, is_active, created_at at time zone 'utc' as created_at,
             created_by, last_used_at at time zone 'utc' as last_used_at, default_broker_id
      from provisioning_keys
      where fleet_id = ${fleetId}
      order by provisioning_keys.created_at desc, id
      limit 1000`,
  );
  return { fleet_id: fleetId, count: keys.length, keys };
}
