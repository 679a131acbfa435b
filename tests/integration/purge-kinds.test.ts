import { expect, it } from 'vitest';
import { purgeEvents } from '../../lib/events/purge.ts';
import { addBroker, useBerth } from '../support/berth.ts';
import { addDevices, contextFor, leaveOpen } from '../support/bulk.ts';

const berth = useBerth();

it('of expired events about a device that is where they put it, only the moves of a job are kept', async () => {
  const broker = await addBroker(berth);
  await addDevices(berth, 1, { mqtt_broker_id: String(broker) });
  const job = await leaveOpen(berth, { state: 'finished', target_broker_id: broker });
  const add = (type: string, jobId: number | null) =>
    berth.sql(
      `insert into device_events (type, device_uuid, device_id, to_broker_id, job_id, at)
       select $1, uuid, id, mqtt_broker_id, $2::integer, now() - interval '500 days' from devices`,
      [type, jobId],
    );
  await add('moved', null);
  await add('skipped', job);
  await add('moved', job);
  await purgeEvents(contextFor(10_000));
  expect(await berth.sql('select type, job_id::int from device_events')).toEqual([{ type: 'moved', job_id: job }]);
});
