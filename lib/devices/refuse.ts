import type { Context } from '../context.ts';
import { query, type Sql } from '../database/db.ts';
import { authenticationFailed, invalidProvisioningKey, Problem, tooManyRequests } from '../errors.ts';
import { count } from '../metrics.ts';

/** Refusals of one kind that are written, and answered with what is wrong, per 15 minutes. */
const LIMIT = 20;

type Bucket = { code: string; uuid: string };
type Recent = { refusals: number; retry_after: number | null };

/**
 * Wrong secrets are limited: a provisioning key's by address, a device key's by address and device, so
 * that one bad device does not lock out the others behind its address. What is refused although the key
 * was right (used up, expired …) is not a guess and keeps its answer.
 */
const LIMITED: Record<string, 'address' | 'device'> = {
  [invalidProvisioningKey.code]: 'address',
  [authenticationFailed.code]: 'device',
};

/**
 * Records a refusal (the first 20 of a kind in 15 minutes; what comes after is not written, so a block
 * ends by itself) and throws what the client is told.
 *
 * @throws Problem `too-many-requests` with Retry-After past the limit, else `problem`
 */
export async function refuse(
  ctx: Context,
  problem: Problem,
  device: { uuid: string; fleetId?: string | null },
): Promise<never> {
  count('Refused', { code: problem.code });
  const bucket = { code: problem.code, uuid: device.uuid };
  const [recent] = await query<Recent>(
    ctx,
    (sql) => sql`
      with recent as (${recentRefusals(sql, ctx, bucket)}), written as (
        insert into device_events (type, device_uuid, fleet_id, actor, reason, source_ip, request_id)
        select 'refused', ${device.uuid}, ${device.fleetId ?? null}, ${ctx.actor}, ${problem.code}, ${ctx.sourceIp}, ${ctx.requestId}
        from recent where refusals < ${LIMIT}
      )
      select * from recent`,
  );
  if (LIMITED[problem.code] && recent && recent.refusals >= LIMIT) throw tooMany(recent);
  throw problem;
}

/**
 * Lets the slow comparison with a legacy hash go ahead, or throws: past the limit nobody gets that far.
 * @throws Problem `too-many-requests`
 */
export async function mayCompareSlowly(ctx: Context, bucket: Bucket): Promise<true> {
  const [recent] = await query<Recent>(ctx, (sql) => recentRefusals(sql, ctx, bucket));
  if (recent && recent.refusals >= LIMIT) throw tooMany(recent);
  return true;
}

function recentRefusals(sql: Sql, ctx: Context, { code, uuid }: Bucket) {
  const sameDevice = LIMITED[code] === 'address' ? sql`` : sql`and device_uuid = ${uuid}`;
  return sql<Recent[]>`
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
