import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { authenticationFailed, invalidProvisioningKey, type Problem } from '../errors.ts';
import { recordEvents } from '../events/record.ts';
import { count } from '../metrics.ts';
import { addOne, type Count, removeOld, tooMany } from './refusal-counts.ts';

/** Refusals of one kind that are recorded, and of guesses also answered with their reason, per 15 minutes. */
export const REFUSAL_LIMIT = 20;

/** Guesses are limited. A refusal of a correct key (used up, expired …) is not a guess and keeps its answer. */
const GUESSES: readonly string[] = [invalidProvisioningKey.code, authenticationFailed.code];

/**
 * Records a refusal: the first 20 of a kind in 15 minutes, by address and provisioning key, or by address and device. The
 * caller chooses the uuid of a registration, so a registration is never counted by it.
 *
 * @param who keyId: the provisioning key, if Berth knows it
 * @returns what to throw: `problem`, or past the limit of a guess `too-many-requests` with Retry-After
 */
export async function refusal(
  ctx: Context,
  problem: Problem,
  who: { uuid: string; fleetId?: string | null; keyId?: string },
): Promise<Problem> {
  count('Refused', { code: problem.code });
  const subject = problem.code === invalidProvisioningKey.code ? '' : (who.keyId ?? who.uuid);
  const counter = { sourceIp: ctx.sourceIp, reason: problem.code, subject };
  const [counted] = await query<Count>(
    ctx,
    (sql) => sql`
      with ${addOne(sql, counter, REFUSAL_LIMIT)}, event as (
        ${recordEvents(
          sql,
          ctx,
          sql`
            select 'refused' as type, ${who.uuid} as device_uuid, null::integer as device_id,
                   ${who.fleetId ?? null} as fleet_id, ${problem.code} as reason,
                   null::integer as from_broker_id, null::integer as to_broker_id
            from counted where refusals <= ${REFUSAL_LIMIT}`,
        )}
      )
      select * from count`,
  );
  await removeOld(ctx, counted);
  const isOver = counted && counted.refusals > REFUSAL_LIMIT;
  return isOver && GUESSES.includes(problem.code) ? tooMany(counted.retry_after) : problem;
}
