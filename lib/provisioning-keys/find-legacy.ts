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
 * @param limit runs the slow comparison; throws to refuse it
 * @returns the id of the row and its hash after the upgrade, or undefined when no row matches
 * @throws Problem `key-check-unfinished` when the deadline passes before every row is compared
 */
export async function findLegacyKey(
  ctx: Context,
  key: string,
  limit: (compare: () => Promise<Row | undefined>) => Promise<Row | undefined>,
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
  if (rows.length === 0) return undefined;
  const keyHash = hashes[0] as string;
  const remembered = rows.find((row) => row.key_hash === matches.get(keyHash));
  const row = remembered ?? (await limit(() => compareAll(ctx, key, missesOf(keyHash), rows)));
  if (!row) return undefined;
  matches.set(keyHash, row.key_hash);
  if (keepLegacyHashes) return row;
  await query(
    ctx,
    (sql) => sql`update provisioning_keys set key_hash = ${keyHash}
                 where id = ${row.id} and key_hash = ${row.key_hash}`,
  );
  return { id: row.id, key_hash: keyHash };
}

/** The stored hash that a key matched, by the HMAC of the key. Only correct keys are in it. */
const matches = new Map<string, string>();
/**
 * The stored hashes that a key did not match, by the HMAC of the key: a repeated request continues where the last one ran
 * out of time. The key that was used last is last.
 */
const misses = new Map<string, Set<string>>();
/** An address begins 20 comparisons in 15 minutes: it takes 50 addresses to displace a key that a device repeats. */
const MAX_REMEMBERED_KEYS = 1_000;
/** Reserved for the statements after the comparison. */
const RESERVE_MS = 2_000;

function missesOf(keyHmac: string): Set<string> {
  const known = misses.get(keyHmac) ?? new Set();
  misses.delete(keyHmac);
  misses.set(keyHmac, known);
  const [oldest] = misses.keys();
  if (misses.size > MAX_REMEMBERED_KEYS && oldest !== undefined) misses.delete(oldest);
  return known;
}

async function compareAll(ctx: Context, key: string, known: Set<string>, rows: Row[]): Promise<Row | undefined> {
  for (const row of rows) {
    if (known.has(row.key_hash)) continue;
    if (Date.now() > ctx.deadline - RESERVE_MS) {
      throw new Problem(keyCheckUnfinished, undefined, { retryAfterSeconds: 1 });
    }
    if (await verifyBcrypt(key, row.key_hash)) return row;
    known.add(row.key_hash);
  }
  return undefined;
}
