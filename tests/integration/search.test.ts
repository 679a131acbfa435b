import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { admin, type Berth, startBerth } from '../support/berth.ts';
import { addDevices } from '../support/bulk.ts';
import { createLegacyTables } from '../support/legacy.ts';

const FIRST = '44faab1a-6b5e-4a53-8f0c-0d8c8b1e4f11';
const SECOND = '44faab1b-0000-4000-8000-000000000002';

const list = (query: Record<string, string>) => call('GET /api/v1/devices', { headers: admin, query });
const found = async (search: string, more: Record<string, string> = {}) =>
  (await list({ search, ...more })).body.devices.map(({ uuid }: { uuid: string }) => uuid);

/** The databases of an installation: each has another index for uuids. */
const DATABASES: Record<string, Parameters<typeof startBerth>[0]> = {
  'in the order of bytes': {},
  'in the order of a language': {
    prepare: async (sql) => {
      await createLegacyTables(sql);
      await sql('alter table device_api_key_history drop constraint device_api_key_history_device_uuid_fkey');
      await sql(
        'alter table devices alter column uuid drop default, alter column uuid type text collate "en-US-x-icu"',
      );
    },
  },
  'of the legacy service, whose uuids have the type uuid': { prepare: createLegacyTables },
};

describe.each(Object.entries(DATABASES))('GET /devices?search= on a database %s', (name, options) => {
  const isLegacy = name.includes('legacy');
  let berth: Berth;
  beforeAll(async () => {
    berth = await startBerth(options);
    const add = (uuid: string, deviceName: string | null, fleet = 'a') =>
      berth.sql('insert into devices (uuid, device_name, fleet_id) values ($1, $2, $3)', [uuid, deviceName, fleet]);
    await add(FIRST, 'Press 12');
    await add(SECOND, 'press 13', 'b');
    await add('00000000-0000-4000-8000-000000000003', 'Pump 100%');
    await add('ffffffff-ffff-4fff-8fff-ffffffffffff', null);
    if (!isLegacy) for (const uuid of ['test-123', 'Test-456', 'press-9', '44zz']) await add(uuid, 'x');
  });
  afterAll(() => berth.stop());

  it.each([
    ['the beginning of a uuid', '44faab1', [FIRST, SECOND]],
    ['of one uuid', '44faab1a-6b', [FIRST]],
    ['a whole uuid', SECOND, [SECOND]],
    ['a uuid in upper case', '44FAAB1A', [FIRST]],
    ['the last uuid', 'fff', ['ffffffff-ffff-4fff-8fff-ffffffffffff']],
    ['more than a uuid', `${FIRST}0`, []],
    ['the beginning of a name, in any case', 'pReSS 1', [FIRST, SECOND]],
    ['of one name', 'press 12', [FIRST]],
    ['a name with a wildcard', 'Pump 100%', ['00000000-0000-4000-8000-000000000003']],
    ['a wildcard', '%', []],
    ['another one', 'Pr_ss', []],
    ['the middle of a name', 'ress', []],
    ['no uuid', '44faab1-', []],
    ['what no device has', 'zzzz', []],
  ])('%s', async (_, search, uuids) => {
    expect(await found(search)).toEqual(uuids);
  });

  it.skipIf(isLegacy)('other identifiers begin in their own case, or in lower case', async () => {
    expect(await found('test-')).toEqual(['test-123']);
    expect(await found('TEST-')).toEqual(['test-123']);
    expect(await found('Test-')).toEqual(['test-123', 'Test-456']);
    expect(await found('press')).toEqual([FIRST, SECOND, 'press-9']);
  });

  it('combines with other filters and has pages', async () => {
    expect(await found('press 1', { fleet_id: 'b' })).toEqual([SECOND]);
    const { body } = await list({ search: 'press 1', limit: '1' });
    expect(body.devices.map(({ uuid }: { uuid: string }) => uuid)).toEqual([FIRST]);
    expect(body.next).toBe(`/api/v1/devices?limit=1&search=press+1&after=${body.devices[0].id}`);
    expect(await found('press 1', { after: String(body.devices[0].id) })).toEqual([SECOND]);
  });

  it('many matches are the same list', async () => {
    const uuid = isLegacy ? 'gen_random_uuid()' : "'dev-' || n";
    await addDevices(berth, 5_100, { uuid, device_name: `case when n % 50 > 0 then 'Many ' || n else 'Few' end` });
    const uuids: string[] = [];
    for (let after: string | undefined = '0'; after; ) {
      const { body } = await list({ search: 'MANY', limit: '500', after });
      uuids.push(...body.devices.map((device: { uuid: string }) => device.uuid));
      after = body.next && new URLSearchParams(body.next.split('?')[1]).get('after');
    }
    const all = await berth.sql(`select uuid from devices where device_name like 'Many%' order by id`);
    expect(uuids).toHaveLength(4_998);
    expect(uuids).toEqual(all.map((device) => device.uuid));
    await berth.sql(`update devices set device_name = 'Many' where device_name = 'Few'`);
    const { body } = await list({ search: 'MANY', limit: '500' });
    const [last] = await berth.sql(
      `select uuid from devices where lower(device_name) like 'many%' order by id offset 499 limit 1`,
    );
    expect(body.devices.at(-1).uuid).toBe(last?.uuid);
    expect(body.devices).toHaveLength(500);
    if (!isLegacy) expect(await found('DEV-', { limit: '3' })).toEqual(['dev-1', 'dev-2', 'dev-3']);
  });

  it.each([
    ['empty', ''],
    ['too long', 'x'.repeat(256)],
    ['with NUL', 'a\0'],
  ])('%s is 400 and names the parameter', async (_, search) => {
    expect(await list({ search })).toMatchObject({ status: 400, body: { errors: [{ path: 'search' }] } });
  });
});
