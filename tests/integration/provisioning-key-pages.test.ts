import { beforeEach, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, newDevice, register, useBerth } from '../support/berth.ts';

const berth = useBerth();
beforeEach(() => berth.sql('truncate provisioning_keys cascade'));

const path = '/api/v1/provisioning-keys';
const list = async (query: Record<string, string>) => (await call(`GET ${path}`, { headers: admin, query })).body;

it('the reply of a new key names its broker, and has no broker without one', async () => {
  const broker = await addBroker(berth);
  const body = { fleetId: 'f', default_broker_id: broker };
  expect((await call(`POST ${path}`, { headers: admin, body })).body.default_broker_id).toBe(broker);
  expect((await call(`POST ${path}`, { headers: admin, body: { fleetId: 'f' } })).body).not.toHaveProperty(
    'default_broker_id',
  );
});

it('a page that is exactly full is the last one; of one more key there is a next one', async () => {
  for (let n = 0; n < 2; n++) await issueKey({ fleetId: 'f' });
  await issueKey({ fleetId: 'other' });
  const full = await list({ fleetId: 'f', limit: '2' });
  expect(full).toMatchObject({ fleet_id: 'f', count: 2 });
  expect(full).not.toHaveProperty('next');
  const first = await list({ fleetId: 'f', limit: '1' });
  expect(first).toMatchObject({ count: 1, next: `${path}?fleetId=f&limit=1&after=${first.keys[0].id}` });
  const second = await list({ fleetId: 'f', limit: '1', after: first.keys[0].id });
  expect(second).not.toHaveProperty('next');
  expect([first, second].map(({ keys }) => keys[0].id).sort()).toEqual(
    full.keys.map(({ id }: { id: string }) => id).sort(),
  );
  expect(await list({ fleetId: 'none' })).toMatchObject({ count: 0, keys: [] });
});

it('revoking one key leaves the others, and the reason is stored', async () => {
  const [one, other] = [await issueKey({ fleetId: 'f' }), await issueKey({ fleetId: 'f' })];
  const revoke = (body: object) => call(`DELETE ${path}/${one.id}`, { headers: admin, body });
  expect(await revoke({ reason: 'lost' })).toMatchObject({ status: 200, body: { keyId: one.id, reason: 'lost' } });
  const stored = () =>
    berth.sql('select is_active, revoked_at, revoked_reason from provisioning_keys where id = $1', [one.id]);
  const before = await stored();
  expect(before).toEqual([{ is_active: false, revoked_at: expect.any(Date), revoked_reason: 'lost' }]);
  expect((await revoke({})).body).not.toHaveProperty('reason');
  expect(await stored()).toEqual(before);
  expect((await register(other.key, newDevice())).status).toBe(200);
  expect((await register(one.key, newDevice())).status).toBe(401);
});
