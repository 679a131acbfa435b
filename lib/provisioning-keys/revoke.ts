import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { Problem, provisioningKeyNotFound } from '../errors.ts';
import { optionalText } from '../fields.ts';

export const revokeKeyBody = z.strictObject({ reason: optionalText(1000, 'Why, for the record') });

/**
 * Revokes a provisioning key: no device registers with it from now on; those registered keep working.
 * Revoking twice is the same as once.
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
