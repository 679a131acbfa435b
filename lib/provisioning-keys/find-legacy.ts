import { config } from '../config.ts';
import type { Context } from '../context.ts';
import { query } from '../db.ts';
import { keyCheckUnfinished, Problem } from '../errors.ts';
import { hashCandidates, verifyBcrypt } from '../secrets.ts';

type Row = { id: string; key_hash: string };

/**
 * The row of a legacy provisioning key (64 hex, which name no row). Once upgraded it is found by its
 * HMAC; until then it is compared with every bcrypt hash that is left, some 60 ms each, and the one that
 * fits is upgraded in place, so that this happens once per key.
 *
 * @param mayCompare asked before the slow comparison; false leaves it out
 * @returns the row's id, or undefined when no row fits
 * @throws Problem `key-check-unfinished` when the time is over before every row was compared
 */
export async function findLegacyKey(
  ctx: Context,
  key: string,
  mayCompare: () => Promise<boolean>,
): Promise<string | undefined> {
  const hashes = hashCandidates(config().peppers, 'provisioning-key', key);
  const [known] = await query<Row>(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys
                 where key_hash = any(string_to_array(${hashes.join(',')}, ',')) limit 1`,
  );
  if (known) return known.id;

  const rows = await query<Row>(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys
                 where key_hash like '$2%' and is_active and expires_at > now() at time zone 'utc'
                 order by last_used_at desc nulls last`,
  );
  if (rows.length === 0 || !(await mayCompare())) return undefined;
  const fitting = await compareAll(ctx, key, hashes[0] as string, rows);
  if (!fitting) return undefined;
  await query(
    ctx,
    (sql) => sql`update provisioning_keys set key_hash = ${hashes[0] as string}
                 where id = ${fitting.id} and key_hash = ${fitting.key_hash}`,
  );
  return fitting.id;
}

/** Rows that a key is known not to fit, so that a repeated request goes on where the last one ran out of time. */
const misses = new Map<string, Set<string>>();
const MAX_REMEMBERED_KEYS = 100;
/** Kept for the statements that follow the comparison. */
const RESERVE_MS = 2_000;

async function compareAll(ctx: Context, key: string, keyHmac: string, rows: Row[]): Promise<Row | undefined> {
  const missed = misses.get(keyHmac) ?? new Set();
  if (!misses.has(keyHmac) && misses.size >= MAX_REMEMBERED_KEYS) misses.clear();
  misses.set(keyHmac, missed);
  for (const row of rows) {
    if (missed.has(row.key_hash)) continue;
    if (Date.now() > ctx.deadline - RESERVE_MS)
      throw new Problem(keyCheckUnfinished, undefined, { retryAfterSeconds: 1 });
    if (await verifyBcrypt(key, row.key_hash)) return row;
    missed.add(row.key_hash);
  }
  return undefined;
}
