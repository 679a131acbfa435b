import { afterAll, beforeAll, expect, it } from 'vitest';
import { addBroker, type Berth, startBerth } from '../support/berth.ts';
import { assign, onJob, perBroker } from '../support/bulk.ts';
import { addLegacyRows, createLegacyTables, LEGACY_DEVICE } from '../support/legacy.ts';

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth({
    prepare: async (sql) => {
      await createLegacyTables(sql);
      await addLegacyRows(sql);
    },
  });
});
afterAll(() => berth.stop());

it('dry run, job, list of devices and revert work on a legacy database, where devices.uuid has the type uuid', async () => {
  const target = await addBroker(berth);
  const filter = { uuids: [LEGACY_DEVICE.uuid.toUpperCase(), 'test-123'] };
  expect((await assign(target, { filter, dry_run: true })).body).toMatchObject({
    would_move: 1,
    unknown: { uuids: ['test-123'] },
  });
  const { body } = await assign(target, { filter });
  expect(body).toMatchObject({ state: 'finished', moved: 1 });
  expect((await onJob('GET', body.id, '/devices')).body.devices).toMatchObject([{ device_uuid: LEGACY_DEVICE.uuid }]);
  expect(await perBroker(berth)).toEqual({ [target]: 1 });
  expect((await onJob('POST', body.id, '/revert')).body).toMatchObject({ state: 'finished', moved: 1 });
  expect(await perBroker(berth)).toEqual({ null: 1 });
});
