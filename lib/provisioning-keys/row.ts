import * as z from 'zod/mini';
import type { Fragment, Sql } from '../database/db.ts';

/** A provisioning key without the key and its hash. */
export const listedKey = z.object({
  id: z.string(),
  fleet_id: z.string(),
  description: z.nullable(z.string()),
  max_devices: z.nullable(z.int()),
  devices_provisioned: z.nullable(z.int()),
  expires_at: z.string(),
  is_active: z.nullable(z.boolean()),
  created_at: z.nullable(z.string()),
  created_by: z.nullable(z.string()),
  last_used_at: z.nullable(z.string()),
  default_broker_id: z.nullable(z.int()),
  updated_at: z.nullable(z.string().check(z.meta({ description: 'When an operator last changed it' }))),
  updated_by: z.nullable(z.string()),
});
export type ListedKey = Record<string, unknown> & { id: string };

/** A changed provisioning key. */
export const changedKey = z.extend(listedKey, {
  devices_affected: z.nullable(z.int()).check(
    z.meta({
      description:
        'Devices that belong to another broker because of the change. Null: not known, as the database’s first reply was lost',
    }),
  ),
});

/** A new provisioning key. */
export const createdKey = z.object({
  id: z.string(),
  key: z.string(),
  fleetId: z.string(),
  maxDevices: z.int(),
  expiresAt: z.string(),
  description: z.optional(z.string()),
  default_broker_id: z.optional(z.int()),
  warning: z.string(),
});

export const revokedKey = z.object({
  status: z.literal('ok'),
  message: z.string(),
  keyId: z.string(),
  reason: z.optional(z.string()),
});

/** SQL for the columns of {@link listedKey}, from the table or alias `k`. */
export function listedColumns(sql: Sql): Fragment {
  return sql`
    k.id::text, k.fleet_id, k.description, k.max_devices, k.devices_provisioned,
    k.expires_at at time zone 'utc' as expires_at, k.is_active, k.created_at at time zone 'utc' as created_at,
    k.created_by, k.last_used_at at time zone 'utc' as last_used_at, k.default_broker_id, k.updated_at, k.updated_by`;
}

/** SQL: the key `k` as the history of operators has it: JSON without the key and its hash, and without what registrations change. */
export function recordedKey(sql: Sql): Fragment {
  return sql`
    jsonb_build_object(
      'fleet_id', k.fleet_id, 'description', k.description, 'max_devices', k.max_devices,
      'expires_at', k.expires_at at time zone 'utc', 'is_active', k.is_active, 'default_broker_id', k.default_broker_id,
      'revoked_reason', k.revoked_reason)`;
}

/** SQL: the entity tag of the key `k`, without quotes. Every change by an operator changes it; registrations do not. */
export function keyTag(sql: Sql): Fragment {
  return sql`
    md5(row(k.id, k.description, k.max_devices, k.expires_at, k.is_active, k.default_broker_id, k.updated_at)::text)`;
}
