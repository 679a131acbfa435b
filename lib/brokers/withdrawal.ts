import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import type { Fragment, Sql } from '../database/db.ts';
import { isHeld, type Lease, releaseLease, takeLease } from '../database/leases.ts';

/** Longer than a withdrawal takes. One that died blocks others for this long. */
const LEASE_SECONDS = 5;
/** Before the next attempt while another withdrawal runs. */
const WAIT_MS = 100;

/**
 * Runs a withdrawal of a broker (inactive, no longer the default, or deleted) while no other one runs. Otherwise two
 * brokers could be withdrawn simultaneously, each because the other one remains.
 *
 * @param attempt one statement; it counts and withdraws where {@link lockOf} selects a row
 * @returns undefined while another withdrawal runs
 */
export async function withdrawAlone<T>(
  ctx: Context,
  attempt: (lease: Lease) => Promise<T | undefined>,
): Promise<T | undefined> {
  const lease = await takeLease(ctx, 'broker-withdrawal', ctx.requestId, LEASE_SECONDS);
  if (!lease) {
    await sleep(WAIT_MS);
    return undefined;
  }
  try {
    return await attempt(lease);
  } finally {
    await releaseLease(ctx, lease);
  }
}

/** SQL for one row while the lease is held, locked until the statement ends. Without a lease, always one row. */
export function lockOf(sql: Sql, lease: Lease | undefined): Fragment {
  return lease ? sql`select from leases lease where ${isHeld(sql, lease)} for update of lease` : sql`select`;
}
