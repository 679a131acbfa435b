import type { Context } from '../context.ts';
import type { Fragment, Sql } from '../database/db.ts';
import { recordOperatorEvents } from '../events/record.ts';

/** SQL: the job `j` as the history of operators has it. Of a filter's uuids only their number; without its progress. */
function recordedJob(sql: Sql): Fragment {
  return sql`
    jsonb_build_object(
      'state', j.state, 'failure', j.failure, 'reverts_job_id', j.reverts_job_id,
      -- A member that is null is not stored.
      'target_broker_id', case when j.target_broker_id is not null then to_jsonb(j.target_broker_id)
                               when j.reverts_job_id is null then to_jsonb('no assignment'::text) end,
      'max_per_minute', j.max_per_minute, 'close_former', j.close_former,
      'filter', j.filter - 'uuids' || case
        when j.filter ? 'uuids' then jsonb_build_object('uuid_count', jsonb_array_length(j.filter -> 'uuids')) else '{}' end)`;
}

/** SQL: a clause that records the creation of the job in `job`, a row of bulk_assign_jobs with `is_new`. */
export function recordCreation(sql: Sql, ctx: Context): Fragment {
  return recordOperatorEvents(
    sql,
    ctx,
    'job',
    sql`
      select 'job-created' as type, j.id, null as name, j.reason, null::jsonb as before, ${recordedJob(sql)} as after
      from job j where j.is_new`,
  );
}

/** SQL: a clause that records a change of the job: the row in `before` became the row in `job`. */
export function recordChange(sql: Sql, ctx: Context, type: 'job-cancelled' | 'job-resumed'): Fragment {
  return recordOperatorEvents(
    sql,
    ctx,
    'job',
    sql`
      select ${type} as type, was.id, null as name, null as reason, was.recorded as before, became.recorded as after
      from (select j.id, ${recordedJob(sql)} as recorded from before j) was,
           (select ${recordedJob(sql)} as recorded from job j) became`,
  );
}

/** SQL: for RETURNING of an upsert: whether it inserted the row. xmax is 0 in a row that is inserted, not updated. */
export function isNew(sql: Sql): Fragment {
  return sql`j.xmax::text = '0' as is_new`;
}
