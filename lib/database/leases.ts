import type { Context } from '../context.ts';
import { type Fragment, query, type Sql } from './db.ts';

/** A lease that was taken. The next holder gets a higher epoch. */
export type Lease = { name: string; holder: string; epoch: number };

/**
 * Takes a lease that is free. A holder that takes it again renews it and keeps its epoch, so the statement may be repeated,
 * and a repetition that arrives late does not invalidate the lease that the caller has.
 *
 * @param name what only one holder may do at a time: `broker-test`
 * @param holder unique to the caller, such as the id of the request
 * @param seconds until the lease is free again when it is neither renewed nor released; on the database's clock
 * @returns undefined while another holder has it
 */
export async function takeLease(
  ctx: Context,
  name: string,
  holder: string,
  seconds: number,
): Promise<Lease | undefined> {
  const [row] = await query<{ epoch: number }>(
    ctx,
    (sql) => sql`
      insert into leases as lease (name, holder, epoch, until)
      select ${name}, ${holder}, 1, now() + make_interval(secs => ${seconds}::float8)
      -- Decides nothing. Without it, a refused caller would wait for the row while a statement of its holder has it locked.
      where not exists (select from leases where name = ${name} and holder <> ${holder} and until > now())
      on conflict (name) do update
      set holder = excluded.holder,
          until = excluded.until,
          epoch = case when lease.holder = excluded.holder and lease.until > now() then lease.epoch else lease.epoch + 1 end
      where lease.holder = excluded.holder or lease.until <= now()
      returning lease.epoch::float8 as epoch`,
  );
  return row && { name, holder, epoch: row.epoch };
}

/** Makes the lease free. Does nothing when another holder has it by now. */
export async function releaseLease(ctx: Context, { name, holder, epoch }: Lease): Promise<void> {
  await query(
    ctx,
    (sql) => sql`
      update leases set until = '-infinity' where name = ${name} and holder = ${holder} and epoch = ${epoch}`,
  );
}

/**
 * SQL for "the row `lease` of leases is still this lease". The statement that the lease protects selects that row with this
 * condition and `for update of lease`: then a holder that was paused for too long writes nothing, and nobody can take over
 * before the statement commits.
 */
export function isHeld(sql: Sql, { name, holder, epoch }: Lease): Fragment {
  return sql`lease.name = ${name} and lease.holder = ${holder} and lease.epoch = ${epoch} and lease.until > now()`;
}
