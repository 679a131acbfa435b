import * as z from 'zod/mini';
import { text } from '../fields.ts';

const SHAPE = /^prov_([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})_[A-Za-z0-9_-]{43}$/;
const LEGACY_SHAPE = /^[0-9a-f]{64}$/i;

/** A provisioning key told by its shape: `prov_<id>_<secret>` names its row, a legacy one (64 hex) doesn't. */
export type ProvisioningKeyShape = { kind: 'current'; id: string } | { kind: 'legacy' } | { kind: 'unknown' };

export function shapeOf(key: string): ProvisioningKeyShape {
  const id = SHAPE.exec(key)?.[1];
  if (id) return { kind: 'current', id };
  return LEGACY_SHAPE.test(key) ? { kind: 'legacy' } : { kind: 'unknown' };
}

export const fleetId = text(100, 'The fleet that the key’s devices belong to').check(
  z.minLength(1, { message: 'must not be empty' }),
);

/** A key as it is listed: everything but the key and its hash. */
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

export const createKeyReply = z.object({
  id: z.string(),
  key: z.string(),
  fleetId: z.string(),
  maxDevices: z.int(),
  expiresAt: z.string(),
  description: z.optional(z.string()),
  default_broker_id: z.optional(z.int()),
  warning: z.string(),
});
