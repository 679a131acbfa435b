import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { getDefaultBrokerConfig } from '../resolution/resolve.ts';
import { isNew, recordCreation } from './record.ts';

/**
 * Creates the scheduled job that assigns every unassigned device to the default broker. Creates none when there is no such
 * device, when no default broker takes devices, or while the previous scheduled job is open.
 *
 * @param time of the schedule's event, which can be delivered more than once
 * @returns the job's id, also when an earlier delivery created it
 */
export async function assignUnassigned(ctx: Context, time: string): Promise<number | undefined> {
  const once = `schedule:unassigned:${time}`;
  const [job] = await query<{ id: number }>(
    ctx,
    (sql) => sql`
      with job as (
        insert into bulk_assign_jobs as j
          (once, request_id, created_by, filter, target_broker_id, start_id, cursor_id, end_id)
        select ${once}, ${ctx.requestId}, ${ctx.actor}, '{"unassigned": true}', b.id, 0, 0, (select max(id) from devices)
        from mqtt_broker_config b
        where b.id = ${getDefaultBrokerConfig(sql)} and b.refusal is null
          and exists (select from devices where mqtt_broker_id is null)
          and not exists (
            select from bulk_assign_jobs
            where once like 'schedule:unassigned:%' and state in ('queued', 'running') and once <> ${once})
        on conflict (once) do update set once = excluded.once
        returning j.*, ${isNew(sql)}
      ), event as (
        ${recordCreation(sql, ctx)}
      )
      select id from job`,
  );
  return job?.id;
}
