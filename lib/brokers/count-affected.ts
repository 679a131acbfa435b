import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { log } from '../log.ts';
import { devicesAlike, kindOf } from '../resolution/alike.ts';
import { mayUseAsFormer } from './former-devices.ts';

/** How a change of broker `id` changes the resolution. */
export type BrokerChange = {
  id: number;
  /** Whether it serves devices afterwards. */
  isActive: boolean;
  /** `begins`: it becomes the default instead of another one. `ends`: there is none afterwards. */
  default: 'begins' | 'ends' | 'stays';
  /** Its own devices stay, but get other settings or are drained. */
  concernsItsDevices: boolean;
  /** Devices that do not resolve to it may no longer log in: here, or at the former default if this one becomes it. */
  endsFormer: boolean;
  /** Where the devices that are assigned to it are assigned afterwards; null: nowhere. Undefined: they stay. */
  reassignedTo?: number | null;
};

/** `former`: devices that resolve elsewhere and may use the broker now, but not afterwards. */
export type Affected = { resolved: number; former: number; left_without: number };

/** A count must not outlast the change that it belongs to. */
const PATIENCE_MS = 1_500;

/**
 * Counts the devices that a change affects. `resolved`: those that resolve to another broker afterwards, and those of the
 * broker itself when the change concerns them. `left_without`: those of them that have no broker in the database afterwards.
 *
 * @param isNeeded the change depends on the numbers. Otherwise it is made without them if the count takes too long
 * @returns undefined when it took too long
 */
export async function countAffected(
  ctx: Context,
  change: BrokerChange,
  isNeeded = false,
): Promise<Affected | undefined> {
  const deadline = isNeeded ? ctx.deadline : Math.min(ctx.deadline, Date.now() + PATIENCE_MS);
  const counting = query<Affected>({ ...ctx, deadline }, (sql) => countStatement(sql, change));
  if (isNeeded) return (await counting)[0];
  return counting.then(
    ([affected]) => affected,
    (error: { code?: unknown }) => {
      log.warn('affected devices not counted', { requestId: ctx.requestId, brokerId: change.id, code: error.code });
      return undefined;
    },
  );
}

/** The number of devices that a change affects; null: not known. */
export function totalOf(affected: Affected | undefined): number | null {
  return affected ? affected.resolved + affected.former : null;
}

/** The members of a problem that say how many devices a change would affect: a number, and the string of the legacy service. */
export function affectedMembers(devices: number) {
  return { devices_count: String(devices), devices_affected: devices };
}

function countStatement(sql: Sql, change: BrokerChange) {
  const { id, isActive, default: changed, concernsItsDevices, endsFormer } = change;
  return sql<Affected[]>`
    with alike as materialized (
      select d.*, ways.was, ways.will
      from ${devicesAlike(sql, sql`true`)} d
      cross join lateral (
        select (array_agg(step.broker_id order by step.number) filter (where step.usable))[1] as was,
               (array_agg(after.id order by step.number)
                 filter (where case when after.id = ${id} then ${isActive}
                                    when after.id is distinct from step.broker_id then after.id is not null
                                    else step.usable end))[1] as will
        from berth_resolve(null, d.mqtt_broker_id, d.provisioned_by_key_id, false) step
        cross join lateral (select ${stepAfter(sql, change)} as id) after
      ) ways
    ), closing as (
      select * from mqtt_broker_config
      where ${endsFormer} and case when ${changed === 'begins'} then is_default else id = ${id} end
    )
    select
      (select coalesce(sum(devices), 0)::integer from alike
       where was is distinct from will or (${concernsItsDevices} and will = ${id})) as resolved,
      (select coalesce(sum(devices), 0)::integer from alike where was = ${id} and will is null) as left_without,
      (select count(*)::integer from closing b join devices d on ${mayUseAsFormer(sql)}
       where (${kindOf(sql)}) not in (select ${kindOf(sql)} from alike d where d.was = (select id from closing))) as former`;
}

/** SQL: the broker that a step of berth_resolve names after the change. */
function stepAfter(sql: Sql, { id, default: changed, reassignedTo }: BrokerChange): Fragment {
  if (reassignedTo !== undefined) {
    return sql`case when step.source = 'device' and step.broker_id = ${id} then ${reassignedTo}::integer else step.broker_id end`;
  }
  if (changed === 'stays') return sql`step.broker_id`;
  return sql`case when step.source = 'default' then ${changed === 'begins' ? sql`${id}::integer` : sql`null`} else step.broker_id end`;
}
