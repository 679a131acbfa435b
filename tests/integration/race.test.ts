import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { addBroker, type Berth, counts, issueKey, newDevice, startBerth } from '../support/berth.ts';
import { type CrowdCall, crowd } from '../support/crowd.ts';

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
});
afterAll(() => berth.stop());
beforeEach(() => berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events'));

const registration = (key: string, body: object): CrowdCall => ({
  target: 'POST /api/v1/device/register',
  options: { headers: { authorization: `Bearer ${key}` }, body },
});
const shuffled = <T>(list: T[]): T[] =>
  list
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);

it('4,200 concurrent registrations of 700 devices on a key for 500: exactly 500, all else a clean 401', async () => {
  const { key } = await issueKey({ maxDevices: 500 });
  const devices = Array.from({ length: 700 }, () => newDevice());
  const order = shuffled(Array.from({ length: 6 }, () => devices).flat());
  const answers = await crowd(order.map((device) => registration(key, device)));

  expect(await counts(berth)).toEqual({ devices: 500, users: 500, acls: 500, events: 500, used: 500 });
  const byDevice = Map.groupBy(
    answers.map((answer, i) => ({ answer, uuid: order[i]?.uuid })),
    ({ uuid }) => uuid,
  );
  let registered = 0;
  for (const calls of byDevice.values()) {
    const statuses = new Set(calls.map(({ answer }) => answer.status));
    expect(statuses.size, 'a device is in or out, whichever of its calls is asked').toBe(1);
    if (statuses.has(200)) {
      registered++;
      expect(new Set(calls.map(({ answer }) => answer.text)).size).toBe(1);
    } else {
      for (const { answer } of calls) {
        expect(answer).toMatchObject({
          status: 401,
          body: { code: 'provisioning-key-exhausted', error: 'Invalid provisioning key' },
        });
      }
    }
  }
  expect(registered).toBe(500);
});

it('50 concurrent first registrations of one device from 16 instances: one row, 50 identical credentials', async () => {
  const { key } = await issueKey({ maxDevices: 1 });
  const device = newDevice();
  const answers = await crowd(Array.from({ length: 50 }, () => registration(key, device)));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  expect(await counts(berth)).toEqual({ devices: 1, users: 1, acls: 1, events: 1, used: 1 });
});

it('one uuid with 32 different device keys at once: one wins, the others get 409', async () => {
  const { key } = await issueKey();
  const { uuid } = newDevice();
  const answers = await crowd(Array.from({ length: 32 }, () => registration(key, newDevice({ uuid }))));
  const outcomes = answers.map(({ status, body }) => `${status} ${body.code ?? ''}`).sort();
  expect(outcomes).toEqual(['200 ', ...Array(31).fill('409 device-already-registered')]);
  expect(await counts(berth)).toEqual({ devices: 1, users: 1, acls: 1, events: 1, used: 1 });
});
