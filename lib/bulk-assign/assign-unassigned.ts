import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { getDefaultBrokerConfig } from '../resolution/resolve.ts';

/**
 * Makes the standing job: every unassigned device gets the default broker. None is made when there is no
 * such device, no default broker that takes any, or the last such job is still open.
 *
 * @param time of the schedule's event, which may be delivered more than once
 * @returns the job's id, also when an earlier delivery made it
 */
export async function assignUnassigned(ctx: Context, time: string): Promise<number | undefined> {
  const [job] = await query<{ id: number }>(
    ctx,
    (sql) => sql`
      insert into bulk_assign_jobs as j
        (once, request_id, created_by, filter, target_broker_id, start_id, cursor_id, end_id)
      select ${`schedule:unassigned:${time}`}, ${ctx.requestId}, ${ctx.actor}, '{"unassigned": true}', b.id, 0, 0,
             (select max(id) from devices)
      from mqtt_broker_config b
      where b.id = ${getDefaultBrokerConfig(sql)} and b.is_active and b.accepts_new_devices
        and exists (select from devices where mqtt_broker_id is null)
        and not exists (
          select from bulk_assign_jobs
          where once like 'schedule:unassigned:%' and state in ('queued', 'running')
            and once <> ${`schedule:unassigned:${time}`})
      on conflict (once) do update set once = excluded.once
      returning j.id`,
  );
  return job?.id;
}
