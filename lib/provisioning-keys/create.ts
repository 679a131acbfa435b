import { randomBytes, randomUUID } from 'node:crypto';
import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { hashSecret } from '../crypto/hash.ts';
import { query } from '../database/db.ts';
import { optionalText, rowId } from '../fields.ts';
import { settings } from '../settings/settings.ts';
import { fleetId } from './input.ts';

const wholeNumber = (min: number, max: number, description: string) => {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.int({ message }).check(z.gte(min, { message }), z.lte(max, { message }), z.meta({ description }));
};

export const createKeyBody = z.strictObject({
  fleetId,
  maxDevices: z._default(wholeNumber(1, 10_000, 'How many devices may register with it'), 100),
  expiresInDays: z._default(wholeNumber(1, 3650, 'Days until it expires'), 365),
  description: optionalText(1000, 'For the operator'),
  default_broker_id: z.optional(z.nullable(rowId('The broker that its devices are assigned to'))),
});

/**
 * Issues a provisioning key. The key itself is in this reply and nowhere else: only its HMAC is stored.
 * @throws 23503 (→ `broker-not-found`) when default_broker_id names no broker
 */
export async function createProvisioningKey(ctx: Context, input: z.output<typeof createKeyBody>) {
  const id = randomUUID();
  const key = `prov_${id}_${randomBytes(32).toString('base64url')}`;
  const keyHash = hashSecret(settings().peppers[0], 'provisioning-key', key);
  const [row] = await query<{ expires_at: Date }>(
    ctx,
    (sql) => sql`
      insert into provisioning_keys
        (id, key_hash, fleet_id, description, max_devices, devices_provisioned, expires_at, is_active,
         created_at, created_by, default_broker_id)
      values
        (${id}, ${keyHash}, ${input.fleetId}, ${input.description ?? null}, ${input.maxDevices}, 0,
         now() at time zone 'utc' + make_interval(days => ${input.expiresInDays}), true,
         now() at time zone 'utc', ${ctx.actor}, ${input.default_broker_id ?? null})
      on conflict (id) do update set id = excluded.id
      returning expires_at at time zone 'utc' as expires_at`,
  );
  return {
    id,
    key,
    fleetId: input.fleetId,
    maxDevices: input.maxDevices,
    expiresAt: row?.expires_at,
    ...(input.description ? { description: input.description } : {}),
    ...(input.default_broker_id ? { default_broker_id: input.default_broker_id } : {}),
    warning: 'Store this key securely - it cannot be retrieved again!',
  };
}
