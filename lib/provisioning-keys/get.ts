import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { Problem, preconditionFailed, provisioningKeyNotFound } from '../errors.ts';
import { keyTag, type ListedKey, listedColumns } from './row.ts';

/**
 * A provisioning key without the key and its hash.
 * @throws Problem `provisioning-key-not-found`
 */
export async function getProvisioningKey(ctx: Context, id: string) {
  const [row] = await query<ListedKey & { tag: string }>(
    ctx,
    (sql) => sql`select ${listedColumns(sql)}, ${keyTag(sql)} as tag from provisioning_keys k where id = ${id}`,
  );
  if (!row) throw new Problem(provisioningKeyNotFound);
  const { tag, ...body } = row;
  return { body, tag };
}

/**
 * Refuses a change of a key that an operator has changed since the caller read it.
 * @throws Problem `precondition-failed` with the key as it is now; `provisioning-key-not-found`
 */
export async function refuseChangedKey(ctx: Context, id: string): Promise<never> {
  const { body, tag } = await getProvisioningKey(ctx, id);
  throw new Problem(preconditionFailed, undefined, { extra: { etag: `"${tag}"`, current: body } });
}
