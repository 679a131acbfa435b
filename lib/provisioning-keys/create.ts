import { randomBytes, randomUUID } from 'node:crypto';
import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { hashSecret } from '../crypto/hash.ts';
import { query } from '../database/db.ts';
import { violates } from '../database/violates.ts';
import { brokerNotFound, Problem } from '../errors.ts';
import { recordOperatorEvents } from '../events/record.ts';
import { settings } from '../settings/settings.ts';
import type { createKeyBody } from './input.ts';
import { recordedKey } from './row.ts';

/**
 * Issues a provisioning key. Only this reply contains the key; the database has its HMAC.
 * @throws Problem `broker-not-found` when `default_broker_id` is not the id of a broker
 */
export async function createProvisioningKey(ctx: Context, input: z.output<typeof createKeyBody>) {
  const id = randomUUID();
  const key = `prov_${id}_${randomBytes(32).toString('base64url')}`;
  const keyHash = hashSecret(settings().peppers[0], 'provisioning-key', key);
  const [row] = await query<{ expires_at: Date }>(
    ctx,
    (sql) => sql`
      with key as (
        insert into provisioning_keys
          (id, key_hash, fleet_id, description, max_devices, devices_provisioned, expires_at, is_active,
           created_at, created_by, default_broker_id)
        values
          (${id}, ${keyHash}, ${input.fleet_id}, ${input.description ?? null}, ${input.max_devices}, 0,
           berth_now() + make_interval(days => ${input.expires_in_days}), true,
           berth_now(), ${ctx.actor}, ${input.default_broker_id})
        on conflict (id) do update set id = excluded.id
        -- xmax is 0 in a row that is inserted, not updated: this is no repetition after a lost reply.
        returning *, xmax::text = '0' as is_new
      ), event as (
        ${recordOperatorEvents(
          sql,
          ctx,
          'key',
          sql`
            select 'key-issued' as type, k.id, k.fleet_id as name, null as reason, null::jsonb as before,
                   ${recordedKey(sql)} as after
            from key k where k.is_new`,
        )}
      )
      select expires_at at time zone 'utc' as expires_at from key`,
  ).catch((error) => {
    throw violates(error, 'foreign-key') ? new Problem(brokerNotFound) : error;
  });
  return {
    id,
    key,
    fleetId: input.fleet_id,
    maxDevices: input.max_devices,
    expiresAt: row?.expires_at,
    ...(input.description ? { description: input.description } : {}),
    ...(input.default_broker_id ? { default_broker_id: input.default_broker_id } : {}),
    warning: 'Store this key securely - it cannot be retrieved again!',
  };
}
