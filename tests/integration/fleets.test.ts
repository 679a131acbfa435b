import { beforeEach, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { admin, issueKey, newDevice, register, useBerth } from '../support/berth.ts';
import { addDevices } from '../support/bulk.ts';

const berth = useBerth();
beforeEach(() => berth.sql('truncate devices, provisioning_keys'));

const list = (query: Record<string, string> = {}) => call('GET /api/v1/fleets', { headers: admin, query });

describe('GET /fleets', () => {
  it('200 with the fleets of devices and keys, in the order of their ids, and their counts', async () => {
    const { key } = await issueKey({ fleetId: 'c', maxDevices: 5 });
    await issueKey({ fleetId: 'c', maxDevices: 10 });
    await issueKey({ fleetId: 'b', maxDevices: 7 });
    for (let n = 0; n < 2; n++) await register(key, newDevice());
    await addDevices(berth, 3, { fleet_id: `'a'` });
    const fleet = { device_count_is_exact: true, key_count: 0, usable_key_count: 0, places_left: 0 };
    expect(await list()).toMatchObject({
      status: 200,
      body: {
        count: 3,
        fleets: [
          { ...fleet, fleet_id: 'a', device_count: 3 },
          { ...fleet, fleet_id: 'b', device_count: 0, key_count: 1, usable_key_count: 1, places_left: 7 },
          { ...fleet, fleet_id: 'c', device_count: 2, key_count: 2, usable_key_count: 2, places_left: 13 },
        ],
      },
    });
  });

  it('200 and empty without fleets; devices without a fleet are in none', async () => {
    await addDevices(berth, 1, { fleet_id: 'null' });
    expect((await list()).body).toEqual({ count: 0, fleets: [] });
  });

  it('only usable keys have places left', async () => {
    const keys = [];
    for (let n = 0; n < 5; n++) keys.push((await issueKey({ fleetId: 'k', maxDevices: 10 })).id);
    const set = (id: string | undefined, change: string) =>
      berth.sql(`update provisioning_keys set ${change} where id = $1`, [id]);
    await set(keys[0], 'is_active = false');
    await set(keys[1], `expires_at = now() at time zone 'utc' - interval '1 minute'`);
    await set(keys[2], 'devices_provisioned = 10');
    await set(keys[3], 'devices_provisioned = 12');
    await set(keys[4], 'devices_provisioned = null');
    expect((await list()).body.fleets).toMatchObject([{ key_count: 5, usable_key_count: 1, places_left: 10 }]);
  });

  it('counts 1,000 devices of a fleet; of more, the places that its keys have given away', async () => {
    await issueKey({ fleetId: 'f' });
    await issueKey({ fleetId: 'f' });
    await addDevices(berth, 1000, { fleet_id: `'f'` });
    expect((await list()).body.fleets).toMatchObject([{ device_count: 1000, device_count_is_exact: true }]);
    await addDevices(berth, 1, { fleet_id: `'f'`, uuid: `'one-more'` });
    expect((await list()).body.fleets).toMatchObject([{ device_count: 1001, device_count_is_exact: false }]);
    await berth.sql('update provisioning_keys set devices_provisioned = 1500');
    expect((await list()).body.fleets).toMatchObject([{ device_count: 3000, device_count_is_exact: false }]);
  });

  it('has pages, which lead to every fleet once', async () => {
    await addDevices(berth, 7, { fleet_id: `'d-' || n` });
    for (const fleetId of ['d-3', 'e', 'A']) await issueKey({ fleetId });
    const pages: string[][] = [];
    for (let query: Record<string, string> | undefined = { limit: '4' }; query; ) {
      const { body } = await list(query);
      expect(body.count).toBe(body.fleets.length);
      pages.push(body.fleets.map(({ fleet_id }: { fleet_id: string }) => fleet_id));
      query = body.next && Object.fromEntries(new URLSearchParams(body.next.split('?')[1]));
    }
    expect(pages).toEqual([['A', 'd-1', 'd-2', 'd-3'], ['d-4', 'd-5', 'd-6', 'd-7'], ['e']]);
    expect((await list({ limit: '9' })).body).not.toHaveProperty('next');
  });

  it.each([{ limit: '0' }, { limit: '501' }, { after: 'a\0' }, { after: 'x'.repeat(101) }, { fleet: 'f' }])(
    '%j is 400 and names the parameter',
    async (query) => {
      expect(await list(query as unknown as Record<string, string>)).toMatchObject({
        status: 400,
        body: { code: 'invalid-request', errors: [{ path: Object.keys(query)[0] }] },
      });
    },
  );

  it('requires an admin credential', async () => {
    expect((await call('GET /api/v1/fleets')).status).toBe(401);
  });
});
