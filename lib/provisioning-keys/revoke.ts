import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { Problem, provisioningKeyNotFound } from '../errors.ts';
import { isChangeRepeated, recordOperatorEvents } from '../events/record.ts';
import { refuseChangedKey } from './get.ts';
import { keyTag, recordedKey } from './row.ts';

type Outcome = { found: boolean; revoked: boolean };

/**
 * Revokes a provisioning key. No new device can register with it; registered devices keep working. Revoking it again
 * changes nothing but the reason.
 *
 * @param tags the entity tags of If-Match without quotes; undefined: whatever the key is now
 * @throws Problem `provisioning-key-not-found`, `precondition-failed`
 */
export async function revokeProvisioningKey(ctx: Context, id: string, reason: string | undefined, tags?: string[]) {
  const [outcome] = await query<Outcome>(
    ctx,
    (sql, failure) => sql`
      with before as (
        select * from provisioning_keys where id = ${id} for no key update
      ), allowed as (
        select k.id, k.is_active, ${recordedKey(sql)} as recorded from before k
        where ${tags === undefined} or ${keyTag(sql)} = any(${tags ?? []}::text[])
           or ${isChangeRepeated(sql, ctx, failure, 'key', sql`k.id::text`)}
      ), revoked as (
        update provisioning_keys k
        set is_active = false, revoked_at = coalesce(revoked_at, now()),
            revoked_reason = coalesce(${reason ?? null}, revoked_reason)
        from allowed
        where k.id = allowed.id
        returning k.*
      ), event as (
        ${recordOperatorEvents(
          sql,
          ctx,
          'key',
          sql`
            select case when allowed.is_active then 'key-revoked' else 'key-changed' end as type, k.id, k.fleet_id as name,
                   ${reason ?? null} as reason, allowed.recorded as before, ${recordedKey(sql)} as after
            from revoked k, allowed`,
        )}
      )
      select exists (select from before) as found, exists (select from revoked) as revoked`,
  );
  if (!outcome?.found) throw new Problem(provisioningKeyNotFound);
  if (!outcome.revoked) return refuseChangedKey(ctx, id);
  return { status: 'ok', message: 'Provisioning key revoked', keyId: id, ...(reason ? { reason } : {}) };
}
