import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { Problem, provisioningKeyNotFound } from '../errors.ts';
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
