import type { Context } from '../context.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { verifyBcrypt } from '../crypto/legacy-hash.ts';
import { query } from '../database/db.ts';
import { keyCheckUnfinished, Problem } from '../errors.ts';
import { settings } from '../settings/settings.ts';

type Row = { id: string; key_hash: string };

/**
 * The row of a legacy provisioning key (64 hex, which name no row). Once upgraded it is found by its
 * HMAC; until then it is compared with every bcrypt hash that is left, some 60 ms each, and the one that
 * fits is upgraded in place, so that this happens once per key. With LEGACY_HASHES=keep it stays as it
 * is, and this happens once per key and process.
 *
 * @param checkMayCompare called before the slow comparison; throws when there have been too many
 * @returns the row's id and the hash that it has now, or undefined when no row fits
 * @throws Problem `key-check-unfinished` when the time is over before every row was compared
 */
export async function findLegacyKey(
  ctx: Context,
  key: string,
  checkMayCompare: () => Promise<void>,
): Promise<Row | undefined> {
  const { peppers, keepLegacyHashes } = settings();
  const hashes = hashCandidates(peppers, 'provisioning-key', key);
  const [known] = await query<Row>(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys
                 where key_hash = any(string_to_array(${hashes.join(',')}, ',')) limit 1`,
  );
  if (known) return known;

  const rows = await query<Row>(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys
                 where key_hash like '$2%' and is_active and expires_at > now() at time zone 'utc'
                 order by last_used_at desc nulls last`,
  );
  const keyHash = hashes[0] as string;
  const seen = comparisonsOf(keyHash);
  const remembered = rows.find((row) => row.key_hash === seen.fit);
  if (rows.length === 0) return undefined;
  if (!remembered) await checkMayCompare();
  const fitting = remembered ?? (await compareAll(ctx, key, seen, rows));
  if (!fitting || keepLegacyHashes) return fitting;
  await query(
    ctx,
    (sql) => sql`update provisioning_keys set key_hash = ${keyHash}
                 where id = ${fitting.id} and key_hash = ${fitting.key_hash}`,
  );
  return { id: fitting.id, key_hash: keyHash };
}

/** The stored hashes that a key is known not to fit, and the one it fits. */
type Comparisons = { misses: Set<string>; fit?: string };

/** By the key's HMAC, so that a repeated request goes on where the last one ran out of time. */
const comparisons = new Map<string, Comparisons>();
const MAX_REMEMBERED_KEYS = 100;
/** Kept for the statements that follow the comparison. */
const RESERVE_MS = 2_000;

function comparisonsOf(keyHmac: string): Comparisons {
  const seen = comparisons.get(keyHmac) ?? { misses: new Set() };
  if (!comparisons.has(keyHmac) && comparisons.size >= MAX_REMEMBERED_KEYS) comparisons.clear();
  comparisons.set(keyHmac, seen);
  return seen;
}

async function compareAll(ctx: Context, key: string, seen: Comparisons, rows: Row[]): Promise<Row | undefined> {
  for (const row of rows) {
    if (seen.misses.has(row.key_hash)) continue;
    if (Date.now() > ctx.deadline - RESERVE_MS)
      throw new Problem(keyCheckUnfinished, undefined, { retryAfterSeconds: 1 });
    if (await verifyBcrypt(key, row.key_hash)) {
      seen.fit = row.key_hash;
      return row;
    }
    seen.misses.add(row.key_hash);
  }
  return undefined;
}
