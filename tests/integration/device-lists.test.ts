import { beforeAll, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, setEnv, useBerth } from '../support/berth.ts';

/** Every combination of two and three filters, in pages, against a plain query. */
const berth = useBerth();
beforeAll(async () => {
  setEnv({});
  const [one, two] = [await addBroker(berth), await addBroker(berth)];
  const [plain, keyed] = [await issueKey(), await issueKey({ default_broker_id: two })];
  await berth.sql(
    `insert into devices (uuid, fleet_id, device_type, region, is_active, mqtt_broker_id, provisioned_by_key_id,
                          handed_broker_id, handed_settings)
     select 'dev-' || n, 'fleet-' || n % 2, 'type-' || n % 3, case when n % 4 > 1 then 'region-' || n % 4 end, n % 7 > 1,
            case n % 5 when 0 then $1 when 1 then $2::integer end, case when n % 3 = 0 then $3::uuid else $4::uuid end,
            case n % 6 when 0 then null when 1 then $1 when 2 then $2 else 1 end,
            case when n % 6 = 0 or n % 4 = 1 then null when n % 4 = 0 then 'former'
                 else (select settings_hash from mqtt_broker_config where id = case n % 6 when 1 then $1 when 2 then $2 else 1 end) end
     from generate_series(1, 420) n`,
    [one, two, keyed.id, plain.id],
  );
});

const BEHIND = `coalesce(d.handed_broker_id <> b.id or d.handed_settings <> b.settings_hash, false)`;
const FILTERS: [query: Record<string, string>, sql: string][] = [
  [{ fleet_id: 'fleet-1' }, `d.fleet_id = 'fleet-1'`],
  [{ device_type: 'type-2' }, `d.device_type = 'type-2'`],
  [{ region: 'region-3' }, `d.region = 'region-3'`],
  [{ broker_id: '3' }, `d.mqtt_broker_id = 3`],
  [{ unassigned: 'true' }, `d.mqtt_broker_id is null`],
  [{ unassigned: 'false' }, `d.mqtt_broker_id is not null`],
  [{ is_active: 'true' }, `coalesce(d.is_active, true)`],
  [{ is_active: 'false' }, `not coalesce(d.is_active, true)`],
  [{ search: 'dev-1' }, `starts_with(d.uuid, 'dev-1')`],
  [{ behind: 'true' }, BEHIND],
];
const sets = FILTERS.flatMap((a, i) =>
  FILTERS.slice(i).flatMap((b, j) => FILTERS.slice(i + j).map((c) => [...new Set([a, b, c])])),
);
const merged = sets
  .map((set) => ({ query: Object.assign({}, ...set.map(([query]) => query)), set }))
  // Two values of one filter, or a contradiction that the API refuses.
  .filter(({ query, set }) => Object.keys(query).length === set.length && !(query.broker_id && query.unassigned));

it.each(merged)('GET /devices $query: every page, each device once, in the order of ids', async ({ query, set }) => {
  const expected = await berth.sql(
    `select d.id from devices d left join lateral berth_resolved(null, d.mqtt_broker_id, d.provisioned_by_key_id, false) r on true
     left join mqtt_broker_config b on b.id = r.broker_id where ${set.map(([, sql]) => sql).join(' and ')} order by d.id`,
  );
  for (const limit of [7, 500]) {
    const ids: number[] = [];
    for (let after: string | null = '0'; after !== null; ) {
      const page: { status: number; body: { devices: { id: number }[]; next?: string } } = await call(
        'GET /api/v1/devices',
        {
          headers: admin,
          query: { ...query, limit: String(limit), after },
        },
      );
      expect(page.status).toBe(200);
      ids.push(...page.body.devices.map(({ id }) => id));
      after = page.body.next ? new URLSearchParams(page.body.next.split('?')[1]).get('after') : null;
    }
    expect(ids).toEqual(expected.map(({ id }) => id));
  }
});

it('some of these lists have many devices, and some none', async () => {
  const counts = await Promise.all(
    [BEHIND, `not ${BEHIND}`, 'd.mqtt_broker_id = 3'].map(
      async (condition) =>
        (
          await berth.sql(`select count(*)::int as n from devices d
            left join lateral berth_resolved(null, d.mqtt_broker_id, d.provisioned_by_key_id, false) r on true
            left join mqtt_broker_config b on b.id = r.broker_id where ${condition}`)
        )[0]?.n,
    ),
  );
  for (const count of counts) expect(count).toBeGreaterThan(50);
});

it.each([{}, { behind: 'true' }])('finds a device of a fleet behind many that do not match: %o', async (query) => {
  await berth.sql(`insert into devices (uuid, fleet_id, device_type, handed_broker_id, handed_settings)
    select 'far-' || n, 'far', case when n > 10100 then 'last' else 'other' end, 1, 'former' from generate_series(1, 10101) n`);
  const all = { fleet_id: 'far', device_type: 'last', limit: '1', ...query };
  const { body } = await call('GET /api/v1/devices', { headers: admin, query: all });
  expect(body.devices.map(({ uuid }: { uuid: string }) => uuid)).toEqual(['far-10101']);
  await berth.sql(`delete from devices where fleet_id = 'far'`);
});
