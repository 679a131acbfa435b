import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeDatabase } from '../../lib/database/db.ts';
import { type Answer, call } from '../support/api.ts';
import { addBroker, admin, type Berth, startBerth } from '../support/berth.ts';
import { addDevices, leaveOpen, onJob } from '../support/bulk.ts';

/** Lists read only what they return, and a little more. The counters of PostgreSQL are exact; times and plans are not. */
const DEVICES = 200_000;
/** Named statements get a generic plan after five executions. It must be as good. */
const EXECUTIONS = 8;
/** Pages of 100, and the row that says whether there are more. */
const PAGE = 101;

let berth: Berth;
let busy: number;
let idle: number;
beforeAll(async () => {
  berth = await startBerth();
  busy = await addBroker(berth, { is_default: true });
  idle = await addBroker(berth);
  // The rare devices are the last ones, where a scan in the order of ids finds them last.
  await addDevices(berth, DEVICES, {
    fleet_id: `'fleet-' || n % 3`,
    device_type: `case when n > ${DEVICES - 20} then 'rare' when n % 4 = 0 then 'raspberry-pi' else 'sensor' end`,
    mqtt_broker_id: `case when n % 2 = 0 and n <= ${DEVICES - 20} then ${busy} end`,
    is_active: `n <= ${DEVICES - 10}`,
    is_online: `n > ${DEVICES - 10}`,
    handed_broker_id: String(busy),
    device_name: `'Press ' || n`,
    region: `case when n % 2 = 0 then 'eu' end`,
    tags: `case when n > ${DEVICES - 20} then '{"site": "rare"}' when n % 2 = 0 then '{"site": "common"}' end::jsonb`,
  });
  await addDevices(berth, 20, {
    uuid: `'last-' || n`,
    device_type: `'gateway'`,
    mqtt_broker_id: String(idle),
    handed_broker_id: String(busy),
  });
  await berth.sql('analyze devices');
});
afterAll(() => berth.stop());

/** Rows that the handlers read from the table, and its entries in indexes. A session writes its counters when it ends. */
async function rowsRead(table: string, request: () => Promise<Answer>): Promise<{ rows: number; answer: Answer }> {
  const counters = async () => {
    await closeDatabase();
    while (
      (
        await berth.sql(
          `select from pg_stat_activity where datname = current_database() and application_name = 'berth'`,
        )
      ).length > 0
    );
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

describe(`GET /devices with ${DEVICES} devices reads few rows more than it returns`, () => {
  it.each([
    ['no filter', {}, PAGE],
    ['a common type', { device_type: 'sensor' }, PAGE],
    ['a rare type', { device_type: 'rare' }, 20],
    ['an unknown type', { device_type: 'none' }, 0],
    ['unassigned', { unassigned: 'true' }, PAGE],
    ['assigned', { unassigned: 'false' }, PAGE],
    ['unassigned, and a rare type', { unassigned: 'true', device_type: 'rare' }, 20],
    ['unassigned, and a type that has no such device', { unassigned: 'true', device_type: 'gateway' }, 0],
    ['assigned, and a rare type', { unassigned: 'false', device_type: 'rare' }, 0],
    ['a broker with few devices', { broker_id: 'idle' }, 20],
    ['a broker, and a rare type', { broker_id: 'busy', device_type: 'rare' }, 0],
    ['behind', { behind: 'true' }, 20],
    ['behind, and a type that has no such device', { behind: 'true', device_type: 'rare' }, 0],
    ['inactive', { is_active: 'false' }, 10],
    ['active', { is_active: 'true' }, PAGE],
    ['online', { online: 'true' }, 10],
    ['online, and a common type', { online: 'true', device_type: 'sensor' }, 0],
    ['not online', { online: 'false' }, PAGE],
    ['a region', { region: 'eu' }, PAGE],
    ['an unknown region', { region: 'us' }, 0],
    ['a rare tag', { tags: 'site:rare' }, 20],
    ['an unknown tag', { tags: 'site:none' }, 0],
    ['a fleet, and a rare type', { fleet_id: 'fleet-1', device_type: 'rare' }, 7],
  ])('%s', async (_what, filter: Record<string, string>, found) => {
    const ids: Record<string, number> = { busy, idle };
    const query = { ...filter, ...(filter.broker_id ? { broker_id: String(ids[filter.broker_id]) } : {}) };
    const { rows, answer } = await rowsRead('devices', () => call('GET /api/v1/devices', { headers: admin, query }));
    expect(answer.status).toBe(200);
    expect(answer.body.devices).toHaveLength(Math.min(found, PAGE - 1));
    // Each row counts twice: in the table and in an index.
    expect(rows).toBeLessThanOrEqual(10 * PAGE);
  });
});

describe(`GET /devices?search= and ?tags= with ${DEVICES} devices`, () => {
  /** Each row counts twice: in the table and in an index. */
  const MATCHES = 2 * 5_001;
  it.each([
    ['one uuid', 'dev-199999', {}, 1, 10 * PAGE],
    ['one name', 'press 199999', {}, 1, 10 * PAGE],
    ['a name in one fleet', 'press 1999', { fleet_id: 'fleet-0' }, 36, 10 * PAGE],
    ['nothing', 'zzzz', {}, 0, 10 * PAGE],
    ['all devices', 'press', {}, PAGE, MATCHES + 10 * PAGE],
    ['a common tag', undefined, { tags: 'site:common' }, PAGE, MATCHES + 10 * PAGE],
  ])(
    '%s reads few rows more than it finds',
    async (_what, search: string | undefined, filter: Record<string, string>, found, limit) => {
      const query = { ...(search ? { search } : {}), ...filter };
      const { rows, answer } = await rowsRead('devices', () => call('GET /api/v1/devices', { headers: admin, query }));
      expect(answer.body.devices).toHaveLength(Math.min(found, PAGE - 1));
      expect(rows).toBeLessThanOrEqual(limit);
    },
  );
});

it(`GET /fleets with ${DEVICES} devices reads 1,001 devices of each fleet`, async () => {
  const { rows, answer } = await rowsRead('devices', () => call('GET /api/v1/fleets', { headers: admin }));
  expect(answer.body.fleets).toMatchObject([
    { fleet_id: 'fleet-0', device_count_is_exact: false },
    { fleet_id: 'fleet-1', device_count_is_exact: false },
    { fleet_id: 'fleet-2', device_count_is_exact: false },
    { fleet_id: 'fleet-a', device_count: 20, device_count_is_exact: true },
  ]);
  expect(rows).toBeLessThanOrEqual(3 * 2 * 1_001 + 10 * PAGE);
});

describe('GET /provisioning-keys reads few rows more than it returns', () => {
  const KEY = '00000000-0000-4000-8000-';
  beforeAll(async () => {
    await berth.sql(`
      insert into provisioning_keys (id, key_hash, fleet_id, max_devices, expires_at, created_at)
      select ('${KEY}' || lpad(n::text, 12, '0'))::uuid, 'hash-' || n, 'fleet-' || n % 3, 1, now(),
             timestamp '2026-01-01' + interval '1 minute' * n
      from generate_series(1, 20000) n`);
    await berth.sql('analyze provisioning_keys');
  });

  it.each([
    ['of the first page', {}],
    ['of a page far behind', { after: `${KEY}000000001000` }],
  ])('of all fleets, %s', async (_what, page) => {
    const query = { limit: String(PAGE - 1), ...page };
    const request = () => call('GET /api/v1/provisioning-keys', { headers: admin, query });
    const { rows, answer } = await rowsRead('provisioning_keys', request);
    expect(answer.body.keys).toHaveLength(PAGE - 1);
    expect(rows).toBeLessThanOrEqual(10 * PAGE);
  });
});

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

describe('GET /events', () => {
  const limit = { limit: String(PAGE - 1) };
  const list = (query: Record<string, string>) => () =>
    call('GET /api/v1/events', { headers: admin, query: { ...limit, ...query } });
  beforeAll(async () => {
    await berth.sql('truncate device_events, operator_events');
    await berth.sql(
      `insert into device_events (type, device_uuid, device_id, job_id, actor)
       select case when n % 3 = 0 then 'refused' else 'moved' end, 'dev-' || n % 10000, n % 10000,
              case when n % 3 = 0 then null else n % 20 end, 'device' from generate_series(1, 200000) n`,
    );
    await berth.sql(
      `insert into operator_events (type, target_kind, target_id, actor)
       select case when n <= 20 then 'key-issued' else 'broker-tested' end, 'broker', n % 10, 'admin:' || n % 20
       from generate_series(1, 50000) n`,
    );
    await berth.sql('analyze device_events, operator_events');
  });

  it.each<[Record<string, string>, number]>([
    [{}, 10 * PAGE],
    [{ before: '100000' }, 10 * PAGE],
    [{ kind: 'device' }, 10 * PAGE],
    [{ kind: 'operator' }, 0],
    [{ type: 'key-issued' }, 0],
    [{ job_id: '1' }, 10 * PAGE],
    [{ device_uuid: 'dev-7' }, 10 * PAGE],
    // The window, twice: once to find, once to say where the page ends.
    [{ type: 'deleted' }, 2 * 2 * 20_000 + 10 * PAGE],
    [{ actor: 'nobody', job_id: '1' }, 2 * 2 * 20_000 + 10 * PAGE],
  ])('%j reads at most %i of the devices’ rows', async (query, most) => {
    const { rows } = await rowsRead('device_events', list(query));
    expect(rows).toBeLessThanOrEqual(most);
  });

  it.each<[Record<string, string>, number]>([
    [{}, 10 * PAGE],
    [{ kind: 'operator' }, 10 * PAGE],
    [{ type: 'key-issued' }, 10 * PAGE],
    // One of 20, or of 10: the way through the table in the order of ids costs less than the index.
    [{ actor: 'admin:3' }, 2 * 20 * PAGE],
    [{ broker_id: '3' }, 2 * 10 * PAGE],
  ])('%j reads at most %i of the operators’ rows', async (query, most) => {
    const { rows } = await rowsRead('operator_events', list(query));
    expect(rows).toBeLessThanOrEqual(most);
  });
});
