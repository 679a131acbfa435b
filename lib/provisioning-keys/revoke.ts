import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { Problem, provisioningKeyNotFound } from '../errors.ts';

/**
 * Revokes a provisioning key. No new device can register with it; registered devices keep working. Revoking it again
 * changes nothing but the reason.
 * @throws Problem `provisioning-key-not-found`
 */
export async function revokeProvisioningKey(ctx: Context, id: string, reason: string | undefined) {
  const [row] = await query(
    ctx,
    (sql) => sql`
      update provisioning_keys
      set is_active = false, revoked_at = coalesce(revoked_at, now()), revoked_reason = coalesce(${reason ?? null}, revoked_reason)
      where id = ${id}
      returning id`,
  );
  if (!row) throw new Problem(provisioningKeyNotFound);
  return { status: 'ok', message: 'Provisioning key revoked', keyId: id, ...(reason ? { reason } : {}) };
}
