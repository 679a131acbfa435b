import type * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { hashSecret } from '../crypto/hash.ts';
import { query, type Sql } from '../database/db.ts';
import { violates } from '../database/violates.ts';
import { brokerNotFound, Problem } from '../errors.ts';
import { recordOperatorEvents } from '../events/record.ts';
import { type Target, targetProblem } from '../resolution/target.ts';
import { settings } from '../settings/settings.ts';
import type { createKeyBody } from './input.ts';
import { keyOfOrder, randomKey } from './new-key.ts';
import { recordedKey } from './row.ts';

type Outcome = { target: Target | null; expires_at: Date | null };

/**
 * Issues a provisioning key. Only this reply contains the key; the database has its HMAC.
 * @param idempotencyKey a repeat with the same one and the same body issues no second key, and has the same reply
 * @throws Problem `broker-not-found`, `broker-inactive`, `broker-draining`: `default_broker_id` takes no devices
 */
export async function createProvisioningKey(
  ctx: Context,
  input: z.output<typeof createKeyBody>,
  idempotencyKey?: string,
) {
  const [pepper] = settings().peppers;
  const { id, key } = idempotencyKey ? keyOfOrder(pepper, [idempotencyKey, ctx.actor, input]) : randomKey();
  const keyHash = hashSecret(pepper, 'provisioning-key', key);
  const [outcome] = await query<Outcome>(ctx, (sql) => insertStatement(sql, ctx, id, keyHash, input)).catch((error) => {
    // The broker was deleted while the statement ran.
    throw violates(error, 'foreign-key') ? new Problem(brokerNotFound) : error;
  });
  if (!outcome?.expires_at) throw targetProblem(outcome?.target);
  return {
    id,
    key,
    fleetId: input.fleet_id,
    maxDevices: input.max_devices,
    expiresAt: outcome.expires_at,
    ...(input.description ? { description: input.description } : {}),
    ...(input.default_broker_id ? { default_broker_id: input.default_broker_id } : {}),
    warning: 'Store this key securely - it cannot be retrieved again!',
  };
}

function insertStatement(sql: Sql, ctx: Context, id: string, keyHash: string, input: z.output<typeof createKeyBody>) {
  const brokerId = input.default_broker_id;
  return sql<Outcome[]>`
    with target as (
      select id, refusal from mqtt_broker_config where id = ${brokerId}
    ), key as (
      insert into provisioning_keys
        (id, key_hash, fleet_id, description, max_devices, devices_provisioned, expires_at, is_active,
         created_at, created_by, default_broker_id)
      select ${id}, ${keyHash}, ${input.fleet_id}, ${input.description ?? null}, ${input.max_devices}, 0,
             berth_now() + make_interval(days => ${input.expires_in_days}), true,
             berth_now(), ${ctx.actor}, ${brokerId}::integer
      where ${brokerId}::integer is null or exists (select from target where refusal is null)
        -- Committed, and only the reply was lost.
        or exists (select from provisioning_keys where id = ${id})
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
    select (select row_to_json(target) from target) as target, key.expires_at at time zone 'utc' as expires_at
    from (select) one left join key on true`;
}
