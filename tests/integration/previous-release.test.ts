import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { migrate } from '../../lib/database/migrate.ts';
import type { Handler } from '../../lib/http/endpoint.ts';
import { migrationHashes } from '../../tools/release-bundle.ts';
import { type Answer, type Call, call, eventFor } from '../support/api.ts';
import {
  addBroker,
  admin,
  type Berth,
  counts,
  issueKey,
  newDevice,
  register,
  setEnv,
  startBerth,
} from '../support/berth.ts';
import { createDatabase } from '../support/postgres.ts';

type Release = {
  register: Handler;
  keyExchange: Handler;
  deviceMqtt: Handler;
  provisioningKeys: Handler;
  /** The name that this function had then. */
  reloadConfig(): void;
  closeDatabase(): Promise<void>;
  release: { version: string; migrations: Record<string, string> };
};

/** The release before, which goes on taking requests while this one's migrations are there already. */
const previous: Release = await import(new URL('../releases/previous.mjs', import.meta.url).href);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let berth: Berth;
let key: string;
beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
  key = (await issueKey({ maxDevices: 1_000 })).key;
});
afterAll(async () => {
  await previous.closeDatabase();
  await berth.stop();
});

type Name = 'register' | 'keyExchange' | 'deviceMqtt' | 'provisioningKeys';

async function before(name: Name, target: string, options: Call): Promise<Answer> {
  const { event } = await eventFor(target, options);
  const end = Date.now() + 10_000;
  const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => end - Date.now() };
  const { statusCode = 0, headers = {}, body = '' } = await previous[name](event, context as never);
  return { status: statusCode, headers: headers as Record<string, string>, text: body, body: JSON.parse(body) };
}

const registerBefore = (key: string, body: object): Promise<Answer> =>
  before('register', 'POST /api/v1/device/register', { headers: { authorization: `Bearer ${key}` }, body });

/** A registration's reply without `mqtt.version`, which the release before does not have. */
const withoutVersion = ({ mqtt: { version: _, ...mqtt }, ...body }: Answer['body']) => ({ ...body, mqtt });

it('no migration that was released is changed, renamed or removed, and new ones come after them', () => {
  const released = previous.release.migrations;
  const now = migrationHashes(ROOT);
  expect(now).toMatchObject(released);
  expect(Object.keys(now).slice(0, Object.keys(released).length)).toEqual(Object.keys(released));
});

it('the release before registers devices on this schema, and both know each other’s', async () => {
  for (const [first, second] of [
    [registerBefore, register],
    [register, registerBefore],
  ] as const) {
    const device = newDevice();
    const { deviceApiKey } = device;
    const registered = await first(key, device);
    expect(registered.status, registered.text).toBe(200);
    for (const again of [second, first]) {
      const replayed = await again(key, device);
      expect(replayed.headers['idempotent-replayed']).toBe('true');
      expect(withoutVersion(replayed.body)).toEqual(withoutVersion(registered.body));
      if (again === first) expect(replayed.text).toBe(registered.text);
    }
    const headers = { authorization: `Bearer ${deviceApiKey}` };
    const target = `GET /api/v1/device/${device.uuid}/mqtt`;
    const { mqtt } = withoutVersion(registered.body);
    expect((await before('deviceMqtt', target, { headers })).body).toEqual(mqtt);
    const { version, ...current } = (await call(target, { headers })).body;
    expect(current).toEqual(mqtt);
    expect([version, undefined]).toContain(registered.body.mqtt.version);
    const exchange = { headers, body: { deviceApiKey } };
    const exchangeTarget = `POST /api/v1/device/${device.uuid}/key-exchange`;
    expect(await before('keyExchange', exchangeTarget, exchange)).toMatchObject({ status: 200 });
  }
});

it('both at once give away a key’s places, and no more', async () => {
  const was = await counts(berth);
  const { key } = await issueKey({ maxDevices: 20 });
  const devices = Array.from({ length: 30 }, () => newDevice());
  const answers = await Promise.all(devices.map((device, n) => (n % 2 ? register : registerBefore)(key, device)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(20);
  const is = await counts(berth);
  expect([is.devices - was.devices, is.users - was.users, is.used - was.used]).toEqual([20, 20, 20]);
});

it('registers without a failure while this release’s migrations are being applied', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-released-'));
  const database = await createDatabase(inject('postgresUrl'));
  try {
    for (const name of Object.keys(previous.release.migrations)) {
      copyFileSync(path.join(ROOT, 'migrations', `${name}.sql`), path.join(dir, `${name}.sql`));
    }
    await migrate(database.url, { dir });
    await previous.closeDatabase();
    setEnv({ DATABASE_URL: database.url, MQTT_BROKER_URL: 'mqtt://mqtt.example.com' });
    previous.reloadConfig();
    const body = { fleetId: 'fleet-a', maxDevices: 10_000 };
    const { key } = (await before('provisioningKeys', 'POST /api/v1/provisioning-keys', { headers: admin, body })).body;
    let isOver = false;
    const answers: Answer[] = [];
    const load = (async () => {
      while (!isOver) answers.push(await registerBefore(key, newDevice()));
    })();
    await sleep(300);
    const applied = await migrate(database.url);
    await sleep(300);
    isOver = true;
    await load;
    expect(answers.length).toBeGreaterThan(20);
    expect(applied).toEqual(Object.keys(migrationHashes(ROOT)).slice(Object.keys(previous.release.migrations).length));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  } finally {
    await previous.closeDatabase();
    await database.drop();
    rmSync(dir, { recursive: true, force: true });
  }
});
