import type pg from 'pg';

/** Devices per statement: tens of milliseconds, so that a move waits for no longer than that. */
const PAGE_SIZE = 10_000;

/**
 * Fills in what devices were handed whose rows do not say it: those from before migration 0015, and those that the legacy
 * service or the previous release has registered since. A run that stops leaves whole pages behind; the next one does the rest.
 * Until then these devices lose no broker: every default since their registration accepts them, and a move fills them in.
 *
 * @param until epoch milliseconds
 * @param log receives a line when devices were filled in, or the time is up
 */
export async function fillHanded(client: pg.Client, until: number, log: (line: string) => void): Promise<void> {
  // Migrations of another version (bench) may not have it.
  const { rows } = await client.query(
    `select to_regprocedure('berth_fill_handed(integer, integer)') is not null as "is"`,
  );
  let after: number | null = rows[0].is ? 0 : null;
  let filled = 0;
  while (after !== null && Date.now() < until) {
    const page: pg.QueryResult = await client.query('select last_id, filled from berth_fill_handed($1, $2)', [
      after,
      PAGE_SIZE,
    ]);
    after = page.rows[0].last_id;
    filled += page.rows[0].filled;
  }
  if (filled > 0) log(`filled in what ${filled} devices were handed`);
  if (after !== null) log('not all devices have been looked at for what they were handed: the next run does the rest');
}
