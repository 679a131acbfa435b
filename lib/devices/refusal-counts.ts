import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from '../database/db.ts';
import { Problem, tooManyRequests } from '../errors.ts';

/** What is counted: refusals of one kind, from one address (empty: all addresses), about one key or device (empty: all). */
export type Counter = { sourceIp: string; reason: string; subject: string };
/** The count after this refusal, at most `limit + 1`, and the seconds until the window of 15 minutes ends. */
export type Count = { refusals: number; retry_after: number };

/** SQL: the counter's row `until` while its window lasts and it has at least `limit` refusals. */
function full(sql: Sql, { sourceIp, reason, subject }: Counter, limit: number): Fragment {
  return sql`
    select until from refusal_counts
    where source_ip = ${sourceIp} and reason = ${reason} and subject = ${subject} and refusals >= ${limit} and until > now()`;
}

/** SQL: the seconds until a full counter is empty again; NULL when it is not full. */
export function secondsBlocked(sql: Sql, counter: Counter, limit: number): Fragment {
  return sql`(select greatest(1, ceil(extract(epoch from until - now())))::integer from (${full(sql, counter, limit)}) f)`;
}

/**
 * SQL: clauses that add one, unless the counter is full. The last clause, `count`, has the row of {@link Count}. A full
 * counter is only read, so a flood writes nothing and the window ends by itself.
 */
export function addOne(sql: Sql, counter: Counter, limit: number): Fragment {
  return sql`
    blocked as (${full(sql, counter, limit)}), counted as (
      insert into refusal_counts as counter (source_ip, reason, subject)
      select ${counter.sourceIp}, ${counter.reason}, ${counter.subject} where not exists (select from blocked)
      on conflict (source_ip, reason, subject) do update
      set refusals = case when counter.until > now() then counter.refusals + 1 else 1 end,
          until = case when counter.until > now() then counter.until else excluded.until end
      returning refusals, until
    ), count as (
      select refusals, greatest(1, ceil(extract(epoch from until - now())))::integer as retry_after
      from (select * from counted union all select ${limit + 1}::integer, until from blocked) result
    )`;
}

/** Adds one. @returns the count, `limit + 1` when the counter was full */
export async function countUpTo(ctx: Context, counter: Counter, limit: number): Promise<Count | undefined> {
  const [count] = await query<Count>(ctx, (sql) => sql`with ${addOne(sql, counter, limit)} select * from count`);
  await removeOld(ctx, count);
  return count;
}

/** Adds one. @throws Problem `too-many-requests` when the counter was full */
export async function countOrRefuse(ctx: Context, counter: Counter, limit: number): Promise<void> {
  const count = await countUpTo(ctx, counter, limit);
  if (count && count.refusals > limit) throw tooMany(count.retry_after);
}

/** @throws Problem `too-many-requests` when the counter is full */
export async function checkNotFull(ctx: Context, counter: Counter, limit: number): Promise<void> {
  const [row] = await query<{ seconds: number | null }>(
    ctx,
    (sql) => sql`select ${secondsBlocked(sql, counter, limit)} as seconds`,
  );
  if (row?.seconds) throw tooMany(row.seconds);
}

/** Sets the counter to zero. */
export async function resetCount(ctx: Context, { sourceIp, reason, subject }: Counter): Promise<void> {
  await query(
    ctx,
    (sql) => sql`
      delete from refusal_counts where source_ip = ${sourceIp} and reason = ${reason} and subject = ${subject}`,
  );
}

/**
 * Removes rows whose window is over: as many as new windows can begin, and more. A statement of its own that waits for no
 * row: in the statement that counts, two requests could wait for each other.
 */
export async function removeOld(ctx: Context, count: Count | undefined): Promise<void> {
  if (count?.refusals !== 1) return;
  await query(
    ctx,
    (sql) => sql`
      delete from refusal_counts where (source_ip, reason, subject) in (
        select source_ip, reason, subject from refusal_counts where until < now() order by until limit 10
        for update skip locked)`,
  );
}

export function tooMany(retryAfterSeconds: number, detail?: string): Problem {
  return new Problem(tooManyRequests, detail, { retryAfterSeconds });
}
