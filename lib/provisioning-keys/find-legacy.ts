import type { Context } from '../context.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { verifyBcrypt } from '../crypto/legacy-hash.ts';
import { query } from '../database/db.ts';
import { keyCheckUnfinished, Problem } from '../errors.ts';
import { settings } from '../settings/settings.ts';

type Row = { id: string; key_hash: string };

/**
 * Finds the row of a legacy provisioning key, which does not contain the id of its row. An upgraded key is found by its
 * HMAC. Any other key is compared with every remaining bcrypt hash, about 60 ms each, and the matching row is upgraded,
 * so that this happens once per key. With LEGACY_HASHES=keep no row is upgraded, and this happens once per key and process.
 *
 * @param checkMayCompare called before the slow comparison; throws to refuse it
 * @returns the id of the row and its hash after the upgrade, or undefined when no row matches
 * @throws Problem `key-check-unfinished` when the deadline passes before every row is compared
 */
export async function findLegacyKey(
  ctx: Context,
  key: string,
  checkMayCompare: () => Promise<void>,
): Promise<Row | undefined> {
  const { peppers, keepLegacyHashes } = settings();
  const hashes = hashCandidates(peppers, 'provisioning-key', key);
  const [upgraded] = await query<Row>(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys where key_hash = any(${hashes}::text[]) limit 1`,
  );
  if (upgraded) return upgraded;

  const rows = await query<Row>(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys
                 where key_hash like '$2%' and is_active and expires_at > berth_now()
                 order by last_used_at desc nulls last`,
  );
  const keyHash = hashes[0] as string;
  const seen = comparisonsOf(keyHash);
  const remembered = rows.find((row) => row.key_hash === seen.match);
  if (rows.length === 0) return undefined;
  if (!remembered) await checkMayCompare();
  const row = remembered ?? (await compareAll(ctx, key, seen, rows));
  if (!row || keepLegacyHashes) return row;
  await query(
    ctx,
    (sql) => sql`update provisioning_keys set key_hash = ${keyHash}
                 where id = ${row.id} and key_hash = ${row.key_hash}`,
  );
  return { id: row.id, key_hash: keyHash };
}

/** The stored hashes that do not match a key, and the one that does. */
type Comparisons = { misses: Set<string>; match?: string };

/** By the HMAC of the key, so that a repeated request continues where the last one ran out of time. */
const comparisons = new Map<string, Comparisons>();
const MAX_REMEMBERED_KEYS = 100;
/** Reserved for the statements after the comparison. */
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
    if (Date.now() > ctx.deadline - RESERVE_MS) {
      throw new Problem(keyCheckUnfinished, undefined, { retryAfterSeconds: 1 });
    }
    if (await verifyBcrypt(key, row.key_hash)) {
      seen.match = row.key_hash;
      return row;
    }
    seen.misses.add(row.key_hash);
  }
  return undefined;
}
