import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { migrate } from '../../lib/database/migrate.ts';
import type { Handler } from '../../lib/http/endpoint.ts';
import { migrationHashes } from '../../tools/release-bundle.ts';
import { type Answer, answerOf, type Call, call, eventFor, lambdaContext } from '../support/api.ts';
import {
  admin,
  bearer,
  counts,
  issueKey,
  newDevice,
  register,
  registration,
  setEnv,
  useBerth,
} from '../support/berth.ts';
import { createDatabase } from '../support/postgres.ts';

type Release = {
  register: Handler;
  keyExchange: Handler;
  deviceMqtt: Handler;
  provisioningKeys: Handler;
  /** Its name in the previous release. */
  reloadConfig(): void;
  closeDatabase(): Promise<void>;
  release: { version: string; migrations: Record<string, string> };
};

/** The previous release, which still serves requests after this release's migrations were applied. */
const previous: Release = await import(new URL('../releases/previous.mjs', import.meta.url).href);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const berth = useBerth();
let key: string;
beforeAll(async () => {
  key = (await issueKey({ maxDevices: 1_000 })).key;
});
afterAll(() => previous.closeDatabase());

type Name = 'register' | 'keyExchange' | 'deviceMqtt' | 'provisioningKeys';

/** Calls this handler of the previous release. */
async function callPrevious(name: Name, target: string, options: Call = {}): Promise<Answer> {
  const { event } = await eventFor(target, options);
  return answerOf(await previous[name](event, lambdaContext()));
}

const registerPrevious = (key: string, body: object): Promise<Answer> => {
  const { target, options } = registration(key, body);
  return callPrevious('register', target, options);
};

/** A registration's reply without `mqtt.version`, which the previous release does not have. */
const withoutVersion = ({ mqtt: { version: _, ...mqtt }, ...body }: Answer['body']) => ({ ...body, mqtt });

it('no released migration was changed, renamed or removed; new ones sort after them', () => {
  const released = previous.release.migrations;
  const now = migrationHashes(ROOT);
  expect(now).toMatchObject(released);
  expect(Object.keys(now).slice(0, Object.keys(released).length)).toEqual(Object.keys(released));
});

it('200: the previous release on this schema registers, replays, and reads the devices of this release, and vice versa', async () => {
  for (const [first, second] of [
    [registerPrevious, register],
    [register, registerPrevious],
  ] as const) {
    const device = newDevice();
    const registered = await first(key, device);
    expect(registered.status, registered.text).toBe(200);
    for (const again of [second, first]) {
      const replayed = await again(key, device);
      expect(replayed.headers['idempotent-replayed']).toBe('true');
      expect(withoutVersion(replayed.body)).toEqual(withoutVersion(registered.body));
      if (again === first) expect(replayed.text).toBe(registered.text);
    }
    const { deviceApiKey } = device;
    const headers = bearer(deviceApiKey);
    const target = `GET /api/v1/device/${device.uuid}/mqtt`;
    const { mqtt } = withoutVersion(registered.body);
    expect((await callPrevious('deviceMqtt', target, { headers })).body).toEqual(mqtt);
    const { version, ...current } = (await call(target, { headers })).body;
    expect(current).toEqual(mqtt);
    expect(version).toMatch(/^[\w-]{16}$/);
    if (first === register) expect(registered.body.mqtt.version).toBe(version);
    const exchange = { headers, body: { deviceApiKey } };
    const exchangeTarget = `POST /api/v1/device/${device.uuid}/key-exchange`;
    expect(await callPrevious('keyExchange', exchangeTarget, exchange)).toMatchObject({ status: 200 });
    expect(await call(exchangeTarget, exchange)).toMatchObject({ status: 200 });
  }
});

it('both releases concurrently register 30 devices with a key for 20: exactly 20 × 200', async () => {
  const before = await counts(berth);
  const { key } = await issueKey({ maxDevices: 20 });
  const devices = Array.from({ length: 30 }, () => newDevice());
  const answers = await Promise.all(devices.map((device, n) => (n % 2 ? register : registerPrevious)(key, device)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(20);
  const after = await counts(berth);
  expect([after.devices - before.devices, after.users - before.users, after.used - before.used]).toEqual([20, 20, 20]);
});

it('200 for each registration at the previous release while this release’s migrations are applied', async () => {
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
    const { key } = (await callPrevious('provisioningKeys', 'POST /api/v1/provisioning-keys', { headers: admin, body }))
      .body;
    let isOver = false;
    const answers: Answer[] = [];
    const load = (async () => {
      while (!isOver) answers.push(await registerPrevious(key, newDevice()));
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
