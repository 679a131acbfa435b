import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeDatabase } from '../../lib/database/db.ts';
import type { Answer } from '../support/api.ts';
import { type Berth, startBerth } from '../support/berth.ts';
import { addDevices, leaveOpen, onJob } from '../support/bulk.ts';

/** Lists read only what they return, and a little more. The counters of PostgreSQL are exact; times and plans are not. */
/** Named statements get a generic plan after five executions. It must be as good. */
const EXECUTIONS = 8;
/** Pages of 100, and the row that says whether there are more. */
const PAGE = 101;

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
  await addDevices(berth, 1);
});
afterAll(() => berth.stop());

/** Rows that the handlers read from the table, and its entries in indexes. A session writes its counters when it ends. */
async function rowsRead(table: string, request: () => Promise<Answer>): Promise<{ rows: number; answer: Answer }> {
  const counters = async () => {
    await closeDatabase();
    while ((await berth.sql(`select from pg_stat_activity where application_name = 'berth'`)).length > 0);
    const [row] = await berth.sql(
      `select t.seq_tup_read::float8 + t.idx_tup_fetch + (select sum(idx_tup_read) from pg_stat_user_indexes i where i.relid = t.relid)
         as read from pg_stat_user_tables t where relname = $1`,
      [table],
    );
    return row?.read as number;
  };
  const before = await counters();
  let answer = await request();
  for (let n = 1; n < EXECUTIONS; n++) answer = await request();
  return { rows: ((await counters()) - before) / EXECUTIONS, answer };
}

describe('GET /devices/bulk-assign/{id}/devices reads only events of the job', () => {
  let id: number;
  beforeAll(async () => {
    id = await leaveOpen(berth, { state: 'finished' });
    const other = await leaveOpen(berth, { state: 'finished' });
    await berth.sql(
      `insert into device_events (type, device_uuid, device_id, job_id, reason)
       select case when n % 1000 = 0 then 'skipped' else 'moved' end, 'dev-' || n, n,
              case when n between 100001 and 100050 then ${id} else ${other} end, 'bulk-assign'
       from generate_series(1, 200000) n`,
    );
    await berth.sql('analyze device_events');
  });

  it.each([
    ['all', {}, 50],
    ['skipped', { outcome: 'skipped' }, 0],
  ])('%s', async (_what, query, found) => {
    const { rows, answer } = await rowsRead('device_events', () => onJob('GET', id, '/devices', { query }));
    expect(answer.body.devices).toHaveLength(found);
    expect(rows).toBeLessThanOrEqual(10 * PAGE);
  });
});
