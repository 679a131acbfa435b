import type { Fragment, Sql } from '../database/db.ts';

/** SQL: the ids of the device with this uuid and of deleted ones that had it. Events of jobs are found by them. */
export function deviceIds(sql: Sql, uuid: string): Fragment {
  return sql`
    select id from devices where uuid = berth_uuid(${uuid})
    union
    select device_id from device_events where device_uuid = ${uuid} and job_id is null and type = 'deleted'`;
}
