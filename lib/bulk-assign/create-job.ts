import { createHash } from 'node:crypto';
import type { Context } from '../context.ts';
import { query } from '../database/db.ts';
import { idempotencyKeyReused, Problem } from '../errors.ts';
import { idBounds } from './filter-sql.ts';
import type { NewJob } from './input.ts';
import { isNew, recordCreation } from './record.ts';
import { type Target, targetBroker, targetProblem } from './target.ts';
import { unknownValues } from './unknown-values.ts';

type Row = { target: Target | null; job_id: number | null; same_body: boolean | null };

/**
 * Creates a job. It runs from the first device to the last device that exists now and can match.
 *
 * @param idempotencyKey a repeated key with the same body returns the same job
 * @throws Problem `broker-not-found`, `broker-inactive`, `broker-draining`, `no-default-broker`,
 *   `idempotency-key-reused`
 */
export async function createJob(ctx: Context, input: NewJob, idempotencyKey: string | undefined): Promise<number> {
  const { filter, target, max_per_minute, close_former, reason } = input;
  const once = idempotencyKey ? `key:${idempotencyKey}` : `request:${ctx.requestId}`;
  const hash = createHash('sha256')
    .update(JSON.stringify({ filter, target, max_per_minute, close_former, reason }))
    .digest('base64url');
  const [row] = await query<Row>(
    ctx,
    (sql) => sql`
      with target as (${targetBroker(sql, target.mqtt_broker_id)}), job as (
        insert into bulk_assign_jobs as j
          (once, request_hash, request_id, created_by, reason, filter, unknown, target_broker_id, max_per_minute, close_former,
           start_id, cursor_id, end_id)
        select ${once}, ${hash}, ${ctx.requestId}, ${ctx.actor}, ${reason ?? null}, ${JSON.stringify(filter)}::text::jsonb,
               ${unknownValues(sql, filter)}, (select id from target), ${max_per_minute ?? null}, ${close_former === true},
               bounds.start_id, bounds.start_id, bounds.end_id
        from (${idBounds(sql, filter)}) bounds
        where ${target.mqtt_broker_id === null}::boolean
           or exists (select from target where refusal is null)
           or exists (select from bulk_assign_jobs where once = ${once})
        on conflict (once) do update set once = excluded.once
        returning j.*, ${isNew(sql)}
      ), event as (
        ${recordCreation(sql, ctx)}
      )
      select (select row_to_json(target) from target) as target, job.id as job_id,
             job.request_hash = ${hash} as same_body
      from (select) as one left join job on true`,
  );
  if (!row?.job_id) throw targetProblem(row?.target, target.mqtt_broker_id);
  if (!row.same_body) throw new Problem(idempotencyKeyReused);
  return row.job_id;
}
