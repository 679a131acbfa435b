import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fillHanded } from '../../lib/database/fill-handed.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { addBroker, type Berth, issueKey, startBerth } from '../support/berth.ts';
import { addDevices } from '../support/bulk.ts';

/** Rows of devices that do not say what the device was handed. */
let berth: Berth;
let client: pg.Client;
let main: number;
let other: number;
beforeAll(async () => {
  berth = await startBerth();
  main = await addBroker(berth, { is_default: true });
  other = await addBroker(berth);
  client = new pg.Client({ connectionString: berth.databaseUrl });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await berth.stop();
});

const handed = async (where = 'true') =>
  Object.fromEntries(
    (
      await berth.sql(
        `select coalesce(handed_broker_id, 0) as id, count(*)::int from devices where ${where} group by 1 order by 1`,
      )
    ).map(({ id, count }) => [id, count]),
  );

it('a run of the migrations fills in the broker of each device, in pages, and a repeat changes nothing', async () => {
  const { id: key } = await issueKey({ default_broker_id: other });
  await addDevices(berth, 25_000, { mqtt_broker_id: `case when n % 5 = 0 then ${other} end` });
  await addDevices(berth, 10, { uuid: `'keyed-' || n`, provisioned_by_key_id: `'${key}'::uuid` });
  const lines: string[] = [];
  await migrate(berth.databaseUrl, { log: (line) => lines.push(line) });
  expect(lines).toContain('filled in what 25010 devices were handed');
  expect(await handed()).toEqual({ [main]: 20_000, [other]: 5_010 });
  lines.length = 0;
  await migrate(berth.databaseUrl, { log: (line) => lines.push(line) });
  expect(lines).toEqual([]);
  const [row] = await berth.sql(`select handed_at, handed_settings from devices where uuid = 'keyed-1'`);
  expect(row, 'when and which settings is not known').toEqual({ handed_at: null, handed_settings: null });
});

it('a run that ends early, or that meets a locked row, leaves the rest to the next one', async () => {
  await addDevices(berth, 12_000, { uuid: `'late-' || n` });
  const lines: string[] = [];
  await fillHanded(client, Date.now() - 1, (line) => lines.push(line));
  expect(lines).toEqual(['not all devices have been looked at for what they were handed: the next run does the rest']);
  const mover = new pg.Client({ connectionString: berth.databaseUrl });
  await mover.connect();
  await mover.query(`begin; select from devices where uuid = 'late-7' for update`);
  await fillHanded(client, Infinity, () => {});
  await mover.end();
  expect(await handed(`uuid like 'late-%'`)).toEqual({ 0: 1, [main]: 11_999 });
  await fillHanded(client, Infinity, () => {});
  expect(await handed(`uuid like 'late-%'`)).toEqual({ [main]: 12_000 });
});

it('after a change of the default, a device gets the default of the time when it registered', async () => {
  await addDevices(berth, 1, { uuid: `'before'` });
  await berth.sql('update mqtt_broker_config set is_default = false where id = $1', [main]);
  await berth.sql('update mqtt_broker_config set is_default = true where id = $1', [other]);
  await addDevices(berth, 1, { uuid: `'after'` });
  const accepting = async (uuid: string) =>
    (await berth.sql('select broker_id from mqtt_device_brokers where uuid = $1 order by 1', [uuid])).map(
      ({ broker_id }) => broker_id,
    );
  expect(await accepting('before')).toEqual([main, other]);
  await fillHanded(client, Infinity, () => {});
  expect(await handed(`uuid = 'before'`)).toEqual({ [main]: 1 });
  expect(await handed(`uuid = 'after'`)).toEqual({ [other]: 1 });
  expect(await accepting('before')).toEqual([main, other]);
  expect(await accepting('after')).toEqual([other]);
});

it('after two changes of the default, each device gets the one of its time, and devices with an assignment theirs', async () => {
  const third = await addBroker(berth);
  const change = async (from: number, to: number) => {
    await berth.sql('update mqtt_broker_config set is_default = false where id = $1', [from]);
    await berth.sql('update mqtt_broker_config set is_default = true where id = $1', [to]);
  };
  await addDevices(berth, 1, { uuid: `'time-1'` });
  await addDevices(berth, 1, { uuid: `'assigned'`, mqtt_broker_id: String(third) });
  await change(other, third);
  await addDevices(berth, 1, { uuid: `'time-2'` });
  await change(third, main);
  await addDevices(berth, 1, { uuid: `'time-3'` });
  await berth.sql(`update devices set handed_at = now(), handed_broker_id = null where uuid = 'before'`);
  await fillHanded(client, Infinity, () => {});
  expect(await handed(`uuid = 'time-1'`)).toEqual({ [other]: 1 });
  expect(await handed(`uuid = 'time-2'`)).toEqual({ [third]: 1 });
  expect(await handed(`uuid = 'time-3'`)).toEqual({ [main]: 1 });
  expect(await handed(`uuid = 'assigned'`)).toEqual({ [third]: 1 });
  expect(await handed(`uuid = 'before'`), 'it was handed MQTT_BROKER_URL').toEqual({ 0: 1 });
});
