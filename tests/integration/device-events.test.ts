import { beforeEach, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { admin, useBerth } from '../support/berth.ts';

/** The pages of GET /devices/{uuid}/events. */
const berth = useBerth();
beforeEach(async () => {
  await berth.sql('truncate devices, device_events, operator_events restart identity');
  await berth.sql(`insert into devices (uuid) values ('pump')`);
});

const addEvents = (n: number) =>
  berth.sql(`insert into device_events (type, device_uuid) select 'updated', 'pump' from generate_series(1, $1::int)`, [
    n,
  ]);
const page = async (query: Record<string, string> = {}, uuid = 'pump') => {
  const { status, body } = await call(`GET /api/v1/devices/${uuid}/events`, { headers: admin, query });
  return { status, ids: body.events?.map(({ id }: { id: number }) => id), count: body.count, next: body.next };
};

it('a page has `limit` events, and `next` when there are more', async () => {
  await addEvents(4);
  const first = await page({ limit: '3' });
  expect(first).toEqual({ status: 200, ids: [4, 3, 2], count: 3, next: expect.stringContaining('before=2') });
  expect(await page({ limit: '2', before: '2' })).toEqual({ status: 200, ids: [1], count: 1, next: undefined });
});

it('a full last page has no `next`', async () => {
  await addEvents(2);
  expect(await page({ limit: '2' })).toEqual({ status: 200, ids: [2, 1], count: 2, next: undefined });
});

it('200 with no events: a device without a history, and a page behind the last event', async () => {
  expect(await page()).toEqual({ status: 200, ids: [], count: 0, next: undefined });
  await addEvents(1);
  await berth.sql('delete from devices');
  expect(await page({ before: '1' })).toEqual({ status: 200, ids: [], count: 0, next: undefined });
});

it('a deleted device has its events; 404 for a device that never was', async () => {
  await addEvents(1);
  await berth.sql('delete from devices');
  expect(await page()).toEqual({ status: 200, ids: [1], count: 1, next: undefined });
  expect((await page({}, 'nobody')).status).toBe(404);
});

it('400: a parameter that there is not, and a limit of 0', async () => {
  expect((await page({ after: '1' })).status).toBe(400);
  expect((await page({ limit: '0' })).status).toBe(400);
});
