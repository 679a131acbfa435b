import * as z from 'zod/mini';

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
