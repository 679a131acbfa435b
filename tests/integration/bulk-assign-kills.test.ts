import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { addBroker, type Berth, startBerth } from '../support/berth.ts';
import { addDevices, leaveOpen } from '../support/bulk.ts';

const WORKER = fileURLToPath(new URL('../support/bulk-worker.ts', import.meta.url));
const DEVICES = 100_000;
const KILLS = 30;

let berth: Berth;
const workers: ChildProcess[] = [];
beforeAll(async () => {
  berth = await startBerth();
});
afterAll(async () => {
  for (const worker of workers) worker.kill('SIGKILL');
  await berth.stop();
});

const startWorker = (): ChildProcess => spawn(process.execPath, [WORKER], { stdio: ['ignore', 'ignore', 'inherit'] });

it(`${KILLS} SIGKILLs to 3 workers: each of ${DEVICES} devices is moved once, and the counts are exact`, async () => {
  const from = await addBroker(berth);
  const to = await addBroker(berth);
  await addDevices(berth, DEVICES, { mqtt_broker_id: String(from) });
  // Makes about 200 batches, so that kills hit at every point of a batch.
  await berth.sql(`
    create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.02); return null; end $$;
    create trigger slow after update on devices for each statement execute function slow()`);
  const id = await leaveOpen(berth, { target_broker_id: to });
  const job = async () => (await berth.sql('select * from bulk_assign_jobs where id = $1', [id]))[0];

  for (let n = 0; n < 3; n++) workers.push(startWorker());
  for (let kills = 0, seen = 0; kills < KILLS; kills++) {
    while ((await job())?.batches === seen) await sleep(10);
    await sleep(Math.random() * 300);
    const victim = Math.floor(Math.random() * workers.length);
    const dying = workers[victim] as ChildProcess;
    dying.kill('SIGKILL');
    await once(dying, 'exit');
    workers[victim] = startWorker();
    seen = (await job())?.batches;
    expect((await job())?.state, 'killed while the job runs').toBe('running');
  }
  while ((await job())?.state === 'running') await sleep(100);

  expect(await job()).toMatchObject({ state: 'finished', moved: DEVICES, skipped: 0 });
  const [tally] = await berth.sql(
    `select count(*)::int as events, count(distinct device_uuid)::int as devices,
            (select count(*)::int from devices where mqtt_broker_id = $2) as there
     from device_events where job_id = $1 and type = 'moved' and from_broker_id = $3 and to_broker_id = $2`,
    [id, to, from],
  );
  expect(tally).toEqual({ events: DEVICES, devices: DEVICES, there: DEVICES });
}, 120_000);
