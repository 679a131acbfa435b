import type { Context } from '../context.ts';
import { sha256Hex } from '../crypto/hash.ts';
import { releaseLease, takeLease } from '../database/leases.ts';
import { invalidProvisioningKey, keyCheckUnfinished, temporaryProblem } from '../errors.ts';
import { checkNotFull, countOrRefuse, resetCount } from './refusal-counts.ts';
import { REFUSAL_LIMIT } from './refuse.ts';

/** Comparisons that run simultaneously in the whole installation. Each occupies an instance for up to 3 s. */
const SLOTS = 2;
/** Longer than any comparison. A process that died blocks its slot for this long. */
const LEASE_SECONDS = 6;

/**
 * Runs a comparison of a provisioning key with the legacy hashes. An address has one slot, which it shares with others, and
 * begins at most 20 comparisons in 15 minutes. One that finds its key sets the count to zero.
 *
 * @throws Problem `too-many-requests` past the limit or with too many wrong keys, `key-check-unfinished` while the slot is taken
 */
export async function limitComparison<T>(ctx: Context, compare: () => Promise<T | undefined>): Promise<T | undefined> {
  const wrongKeys = { sourceIp: ctx.sourceIp, reason: invalidProvisioningKey.code, subject: '' };
  const comparisons = { sourceIp: ctx.sourceIp, reason: 'legacy-comparison', subject: '' };
  await checkNotFull(ctx, wrongKeys, REFUSAL_LIMIT);
  await checkNotFull(ctx, comparisons, REFUSAL_LIMIT);
  const lease = await takeLease(ctx, `legacy-comparison-${slotOf(ctx.sourceIp)}`, ctx.requestId, LEASE_SECONDS);
  if (!lease) throw temporaryProblem(keyCheckUnfinished);
  try {
    // Counted first: a comparison that runs out of time counts too.
    await countOrRefuse(ctx, comparisons, REFUSAL_LIMIT);
    const found = await compare();
    if (found) await resetCount(ctx, comparisons);
    return found;
  } finally {
    await releaseLease(ctx, lease);
  }
}

function slotOf(sourceIp: string): number {
  return Number.parseInt(sha256Hex(sourceIp).slice(0, 8), 16) % SLOTS;
}
