import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { call, loadAll } from '../support/api.ts';
import {
  ADMIN_TOKEN,
  addBroker,
  admin,
  type Berth,
  issueKey,
  newDevice,
  register,
  startBerth,
} from '../support/berth.ts';
import { assign } from '../support/bulk.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { urlAs } from '../support/postgres.ts';

/** Statements and commands of the legacy service's documents, unchanged: what operators have in their scripts. */
const ROLE = 'fleet_operator';
let berth: Berth;
let byHand: pg.Pool;
let gateway: Gateway;
let key: { id: string; key: string };
let dir: string;
beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { id: 1, name: 'Local Broker', host: 'one.example.com', is_default: true });
  await addBroker(berth, { id: 2, name: 'Cloud Broker', host: 'two.example.com' });
  // Rights on what the statements name, and on nothing that Berth added.
  await berth.sql(`
    do $$ begin create role ${ROLE} login password '${new URL(berth.databaseUrl).password}'; exception when duplicate_object then null; end $$;
    grant select, update on devices to ${ROLE};
    grant select on mqtt_broker_config, provisioning_keys, mqtt_broker_summary to ${ROLE}`);
  byHand = new pg.Pool({ connectionString: urlAs(ROLE, berth.databaseUrl), max: 1 });
  await loadAll();
  gateway = await startGateway();
  dir = mkdtempSync(path.join(tmpdir(), 'berth-by-hand-'));
});
afterAll(async () => {
  await gateway.close();
  await byHand.end();
  await berth.stop();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  await berth.sql('truncate devices, mqtt_users, mqtt_acls, device_events');
  key = await issueKey();
  for (const uuid of ['device-uuid', 'uuid', 'other']) await register(key.key, newDevice({ uuid }));
  await berth.sql(`update devices set created_at = created_at - interval '1 day', is_online = uuid = 'other'`);
});

const run = async (statement: string, values?: unknown[]) => (await byHand.query(statement, values)).rows;
const deviceOf = async (uuid: string) =>
  (
    await berth.sql(
      `select mqtt_broker_id, handed_broker_id, mqtt_broker_assigned_at > now() - interval '1 minute' as assigned_now from devices where uuid = $1`,
      [uuid],
    )
  )[0];
/** The history of moves, as GET /devices/{uuid}/events has it. */
const movesOf = async (uuid: string) =>
  (await call(`GET /api/v1/devices/${uuid}/events`, { headers: admin })).body.events
    .filter(({ type }: { type: string }) => type === 'moved')
    .map(({ actor, from_broker_id, to_broker_id }: Record<string, unknown>) => ({
      actor,
      from_broker_id,
      to_broker_id,
    }));
const accepting = async (uuid: string) =>
  (await berth.sql('select broker_id, reason from mqtt_device_brokers where uuid = $1 order by reason', [uuid])).map(
    ({ broker_id, reason }) => `${broker_id} ${reason}`,
  );
const actor = `sql:${ROLE}`;

describe('a statement of the legacy documents moves the device, and its history has the move', () => {
  it.each([
    ['of two files', `UPDATE devices SET mqtt_broker_id = 2 WHERE uuid = 'device-uuid';`],
    ['in three lines', `UPDATE devices \nSET mqtt_broker_id = 2 \nWHERE uuid = 'device-uuid';`],
    [
      'by the broker’s name',
      `UPDATE devices \nSET mqtt_broker_id = (SELECT id FROM mqtt_broker_config WHERE name = 'Cloud Broker')\nWHERE uuid IN ('device-uuid', 'device-uuid-2');`,
    ],
  ])('to another broker, %s', async (_, statement) => {
    await run(statement);
    expect(await deviceOf('device-uuid')).toMatchObject({ mqtt_broker_id: 2, assigned_now: true });
    expect(await movesOf('device-uuid')).toEqual([{ actor, from_broker_id: null, to_broker_id: 2 }]);
    expect(await movesOf('other')).toEqual([]);
    // It never polls: the broker that it was handed keeps accepting it.
    expect(await accepting('device-uuid')).toEqual(['1 handed', '2 resolved']);
  });

  it('back to the default broker', async () => {
    await run(`UPDATE devices SET mqtt_broker_id = 2 WHERE uuid = 'device-uuid';`);
    await run(`UPDATE devices \nSET mqtt_broker_id = NULL \nWHERE uuid = 'device-uuid';`);
    expect(await deviceOf('device-uuid')).toMatchObject({ mqtt_broker_id: null, assigned_now: true });
    expect(await movesOf('device-uuid')).toEqual([
      { actor, from_broker_id: 2, to_broker_id: null },
      { actor, from_broker_id: null, to_broker_id: 2 },
    ]);
  });

  it('the default broker for all devices without one', async () => {
    await run(`UPDATE devices SET mqtt_broker_id = 2 WHERE uuid = 'other';`);
    await run(`UPDATE devices 
SET mqtt_broker_id = (
  SELECT id FROM mqtt_broker_config WHERE is_default = true LIMIT 1
)
WHERE mqtt_broker_id IS NULL;`);
    for (const uuid of ['device-uuid', 'uuid']) {
      expect(await movesOf(uuid)).toEqual([{ actor, from_broker_id: null, to_broker_id: 1 }]);
    }
    expect(await movesOf('other')).toHaveLength(1);
  });

  it('the broker of its provisioning key. The column exists already', async () => {
    await expect(
      berth.sql(
        `ALTER TABLE provisioning_keys \nADD COLUMN default_broker_id INTEGER REFERENCES mqtt_broker_config(id);`,
      ),
    ).rejects.toMatchObject({ code: '42701' });
    await berth.sql('update provisioning_keys set default_broker_id = 2');
    const statement = `UPDATE devices \nSET mqtt_broker_id = (\n  SELECT default_broker_id \n  FROM provisioning_keys \n  WHERE id = $1\n)\nWHERE uuid = $2;`;
    await run(statement, [key.id, 'device-uuid']);
    expect(await movesOf('device-uuid')).toEqual([{ actor, from_broker_id: null, to_broker_id: 2 }]);
  });
});

it('the statements that only read have a result', async () => {
  await run(`UPDATE devices SET mqtt_broker_id = 2 WHERE uuid = 'other';`);
  expect(await run('SELECT * FROM mqtt_broker_config WHERE is_default = true;')).toMatchObject([{ id: 1 }]);
  expect(
    await run(`SELECT 
  d.uuid,
  d.device_name,
  mbc.name AS broker_name,
  mbc.host AS broker_host
FROM devices d
LEFT JOIN mqtt_broker_config mbc ON d.mqtt_broker_id = mbc.id
WHERE d.is_online = true;`),
  ).toEqual([{ uuid: 'other', device_name: 'Pump 7', broker_name: 'Cloud Broker', broker_host: 'two.example.com' }]);
  const resolution = `SELECT * FROM mqtt_broker_config 
WHERE id = COALESCE(
  (SELECT mqtt_broker_id FROM devices WHERE uuid = $1),
  (SELECT id FROM mqtt_broker_config WHERE is_default = true LIMIT 1)
)`;
  expect(await run(resolution, ['other'])).toMatchObject([{ id: 2 }]);
  expect(await run(resolution, ['uuid'])).toMatchObject([{ id: 1 }]);
  expect(await run('SELECT * FROM mqtt_broker_summary ORDER BY is_default DESC;')).toMatchObject([
    { id: 1, device_count: '0' },
    { id: 2, device_count: '1' },
  ]);
});

describe('what else a statement by hand does', () => {
  it('a device whose row does not say what it was handed keeps the broker that it had', async () => {
    await berth.sql(
      `update devices set mqtt_broker_id = 2, mqtt_broker_assigned_at = now(), handed_broker_id = null, handed_at = null`,
    );
    await run(`update devices set mqtt_broker_id = 1 where uuid = 'other'`);
    expect(await deviceOf('other')).toMatchObject({ mqtt_broker_id: 1, handed_broker_id: 2 });
    expect(await accepting('other')).toEqual(['2 handed', '1 resolved']);
  });

  it('it changes nothing else that is known of the device, and no other device', async () => {
    const rowOf = async (uuid: string) => (await berth.sql('select * from devices where uuid = $1', [uuid]))[0];
    const before = await rowOf('uuid');
    // Presumed, and MQTT_BROKER_URL.
    await berth.sql(`update devices set handed_broker_id = 2, handed_at = null where uuid = 'device-uuid'`);
    await berth.sql(`update devices set handed_broker_id = null, handed_at = now() where uuid = 'other'`);
    await run(`update devices set mqtt_broker_id = 2 where uuid in ('device-uuid', 'other')`);
    expect(await rowOf('device-uuid')).toMatchObject({ handed_broker_id: 2, handed_left_at: null });
    expect(await rowOf('other')).toMatchObject({ handed_broker_id: null });
    expect(await rowOf('uuid')).toEqual(before);
  });

  it('closed stays closed for a follower that is moved away from the next default', async () => {
    const setDefault = (id: number, more = {}) =>
      call(`PUT /api/v1/mqtt/brokers/${id}`, { headers: admin, body: { is_default: true, ...more } });
    await setDefault(2, { close_former: true });
    await addBroker(berth, { id: 6 });
    await run(`update devices set mqtt_broker_id = 6 where uuid = 'other'`);
    expect(await accepting('other')).toEqual(['6 resolved']);
    await setDefault(1);
  });

  it('a device that was closed out of its former broker may stay at the one that it leaves now', async () => {
    await run(`update devices set mqtt_broker_id = 2 where uuid = 'other'`);
    await berth.sql('update devices set former_closed_at = now()');
    expect(await accepting('other')).toEqual(['2 resolved']);
    await addBroker(berth, { id: 5 });
    await run(`update devices set mqtt_broker_id = 5 where uuid = 'other'`);
    expect(await accepting('other'), 'closed stays closed').toEqual(['5 resolved']);
    await run(`update devices set mqtt_broker_id = null where uuid = 'other'`);
    await run(`update devices set mqtt_broker_id = 2 where uuid = 'other'`);
    expect(await accepting('other')).toEqual(['1 handed', '2 resolved']);
  });

  it('it changes the tag for If-Match', async () => {
    const { etag } = (await call('GET /api/v1/devices/other', { headers: admin })).headers as { etag: string };
    await run(`update devices set mqtt_broker_id = 2 where uuid = 'other'`);
    await run(`update devices set mqtt_broker_id = null where uuid = 'other'`);
    const headers = { ...admin, 'if-match': etag };
    expect(await call('PUT /api/v1/devices/other', { headers, body: { device_type: 'plc' } })).toMatchObject({
      status: 412,
    });
  });

  it('no history: the same broker, another column, or a statement that sets mqtt_broker_assigned_at itself', async () => {
    await run('update devices set mqtt_broker_id = mqtt_broker_id');
    await run(`update devices set mqtt_broker_id = null, device_name = 'Pump 8'`);
    await run('update devices set mqtt_broker_id = 2, mqtt_broker_assigned_at = now()');
    expect(await movesOf('other')).toEqual([]);
  });

  it('a broker that is deleted by hand: its devices follow the default, and history says so', async () => {
    await addBroker(berth, { id: 3 });
    await run(`update devices set mqtt_broker_id = 3 where uuid = 'other'`);
    await berth.sql('delete from mqtt_broker_config where id = 3');
    expect((await movesOf('other'))[0]).toEqual({ actor: 'sql:postgres', from_broker_id: 3, to_broker_id: null });
  });
});

it('moves by Berth are recorded once, by Berth: PUT, bulk-assign, revert, deletion of a broker', async () => {
  await call('PUT /api/v1/devices/other', { headers: admin, body: { mqtt_broker_id: 2 } });
  const { body: job } = await assign(1, { filter: { uuids: ['uuid', 'other'] } });
  await call(`POST /api/v1/devices/bulk-assign/${job.id}/revert`, { headers: admin, remainingMs: 29_000 });
  await addBroker(berth, { id: 4 });
  await call('PUT /api/v1/devices/device-uuid', { headers: admin, body: { mqtt_broker_id: 4 } });
  const query = { reassign_to: '2' };
  expect(await call('DELETE /api/v1/mqtt/brokers/4', { headers: admin, query })).toMatchObject({ status: 200 });
  expect((await movesOf('other')).map(({ actor }: { actor: string }) => actor)).toEqual(['admin', 'admin', 'admin']);
  expect(await movesOf('uuid')).toHaveLength(2);
  expect(await movesOf('device-uuid')).toHaveLength(2);
  expect(await berth.sql(`select from device_events where actor like 'sql:%'`)).toEqual([]);
});

describe('the curl commands of the legacy documents work unchanged', () => {
  /** Runs a command in a shell. Its curl finds localhost:4002 at the gateway, and sends the operator's credential. */
  async function shell(command: string, credential?: string): Promise<{ [member: string]: unknown }> {
    const config = [`connect-to = "localhost:4002:${new URL(gateway.url).host}"`, 'silent'];
    if (credential) config.push(`header = "Authorization: Bearer ${credential}"`);
    writeFileSync(path.join(dir, '.curlrc'), `${config.join('\n')}\n`);
    const { stdout } = await promisify(execFile)('sh', ['-c', command], { env: { ...process.env, CURL_HOME: dir } });
    return JSON.parse(stdout);
  }

  it.each([
    [
      'without a content type',
      `curl -X PUT http://localhost:4002/api/v1/devices/{uuid} \\\n  -d '{"mqtt_broker_id": 2}'`,
      2,
    ],
    [
      'as JSON',
      `curl -X PUT http://localhost:4002/api/v1/devices/{uuid} \\\n  -H "Content-Type: application/json" \\\n  -d '{"mqtt_broker_id": 2}'`,
      2,
    ],
    [
      'back to the default broker',
      `curl -X PUT http://localhost:4002/api/v1/devices/{uuid} \\\n  -H "Content-Type: application/json" \\\n  -d '{"mqtt_broker_id": null}'`,
      null,
    ],
  ])('assign a broker, %s', async (_, command, mqtt_broker_id) => {
    // curl itself reads {uuid} as uuid: there is a device of this name.
    expect(await shell(command, ADMIN_TOKEN)).toMatchObject({ device: { uuid: 'uuid', mqtt_broker_id } });
  });

  it.each([
    [
      'test-123',
      `curl -X POST http://localhost:4002/api/v1/device/register \\
  -H "Authorization: Bearer PROVISIONING_KEY" \\
  -d '{
    "uuid": "test-123",
    "deviceName": "Test Device",
    "deviceType": "raspberry-pi",
    "deviceApiKey": "test-key"
  }'`,
    ],
    [
      'test-device-123',
      `curl -X POST http://localhost:4002/api/v1/device/register \\
  -H "Authorization: Bearer YOUR_PROVISIONING_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "uuid": "test-device-123",
    "deviceName": "Test Device",
    "deviceType": "raspberry-pi-4",
    "deviceApiKey": "test-api-key"
  }'`,
    ],
  ])('register %s', async (uuid, command) => {
    const reply = await shell(command.replace(/(YOUR_)?PROVISIONING_KEY/, key.key));
    expect(reply).toMatchObject({
      uuid,
      mqtt: {
        username: `device_${uuid}`,
        password: expect.any(String),
        broker: 'mqtt://one.example.com:1883',
        brokerConfig: { protocol: 'mqtt', host: 'one.example.com', port: 1883, useTls: false, keepAlive: 60 },
        topics: { publish: [`iot/device/${uuid}/#`], subscribe: [`iot/device/${uuid}/#`] },
      },
    });
  });
});
