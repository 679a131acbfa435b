import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { authenticationFailed, invalidProvisioningKey, Problem, type ProblemType, tooManyRequests } from '../errors.ts';
import { recordEvents } from '../events/record.ts';
import { count } from '../metrics.ts';

/** Refusals of one kind that are recorded, and answered with their reason, per 15 minutes. */
const LIMIT = 20;

type Recent = { refusals: number; retry_after: number | null };

/**
 * Guesses are limited: of a provisioning key by address, of a device key by address and device, so that one bad device does
 * not lock out the others behind its address. A refusal of a correct key (used up, expired …) is not a guess and keeps its
 * answer.
 */
const LIMITED: Record<string, 'address' | 'device'> = {
  [invalidProvisioningKey.code]: 'address',
  [authenticationFailed.code]: 'device',
};

/**
 * Records a refusal: the first 20 of a kind in 15 minutes. Later ones are not written, so a block ends by itself.
 *
 * @returns what to throw: `problem`, or past the limit `too-many-requests` with Retry-After
 */
export async function refusal(
  ctx: Context,
  problem: Problem,
  device: { uuid: string; fleetId?: string | null },
): Promise<Problem> {
  count('Refused', { code: problem.code });
  const [recent] = await query<Recent>(
    ctx,
    (sql) => sql`
      with recent as (${recentRefusals(sql, ctx, problem, device.uuid)}), event as (
        ${recordEvents(
          sql,
          ctx,
          sql`
            select 'refused' as type, ${device.uuid} as device_uuid, null::integer as device_id,
                   ${device.fleetId ?? null} as fleet_id, ${problem.code} as reason,
                   null::integer as from_broker_id, null::integer as to_broker_id
            from recent where refusals < ${LIMIT}`,
        )}
      )
      select * from recent`,
  );
  return LIMITED[problem.code] && recent && recent.refusals >= LIMIT ? tooMany(recent) : problem;
}

/**
 * Checks that a slow comparison with a legacy hash may go ahead.
 *
 * @param type what a wrong key is refused with
 * @throws Problem `too-many-requests` past the limit
 */
export async function checkSlowComparison(ctx: Context, type: ProblemType, uuid: string): Promise<void> {
  const [recent] = await query<Recent>(ctx, (sql) => sql`${recentRefusals(sql, ctx, type, uuid)}`);
  if (recent && recent.refusals >= LIMIT) throw tooMany(recent);
}

function recentRefusals(sql: Sql, ctx: Context, { code }: { code: string }, uuid: string): Fragment {
  const sameDevice = LIMITED[code] === 'address' ? sql`` : sql`and device_uuid = ${uuid}`;
  return sql`
    select count(*)::integer as refusals,
           ceil(extract(epoch from min(at) + interval '15 minutes' - now()))::integer as retry_after
    from (
      select at from device_events
      where type = 'refused' and source_ip = ${ctx.sourceIp} and reason = ${code} ${sameDevice}
        and at > now() - interval '15 minutes'
      order by at desc
      limit ${LIMIT}
    ) latest`;
}

function tooMany({ retry_after }: Recent): Problem {
  return new Problem(tooManyRequests, undefined, { retryAfterSeconds: Math.max(1, retry_after ?? 1) });
}
