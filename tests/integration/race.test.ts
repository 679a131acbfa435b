import { beforeEach, expect, it } from 'vitest';
import { counts, issueKey, newDevice, registration, useBerth } from '../support/berth.ts';
import { callConcurrently } from '../support/concurrent-calls.ts';
import { seeded } from '../support/random.ts';

const berth = useBerth();
beforeEach(() => berth.sql('truncate devices, mqtt_users, mqtt_acls, provisioning_keys, device_events'));

it('4,200 concurrent registrations of 700 devices with a key for 500: exactly 500 devices get 200, the others 401', async () => {
  const { key } = await issueKey({ maxDevices: 500 });
  const devices = Array.from({ length: 700 }, () => newDevice());
  const order = seeded().shuffled(Array.from({ length: 6 }, () => devices).flat());
  const answers = await callConcurrently(order.map((device) => registration(key, device)));

  expect(await counts(berth)).toEqual({ devices: 500, users: 500, acls: 500, events: 500, used: 500 });
  const byDevice = Map.groupBy(
    answers.map((answer, i) => ({ answer, uuid: order[i]?.uuid })),
    ({ uuid }) => uuid,
  );
  let registered = 0;
  for (const calls of byDevice.values()) {
    const statuses = [...new Set(calls.map(({ answer }) => answer.status))];
    expect(statuses, 'all calls of a device get the same status').toHaveLength(1);
    if (statuses[0] === 200) {
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

it('50 concurrent first registrations of one device at 16 instances: 50 × 200 with the same credentials, one row in each table', async () => {
  const { key } = await issueKey({ maxDevices: 1 });
  const device = newDevice();
  const answers = await callConcurrently(Array.from({ length: 50 }, () => registration(key, device)));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  expect(await counts(berth)).toEqual({ devices: 1, users: 1, acls: 1, events: 1, used: 1 });
});

it('32 concurrent registrations of one uuid with different device keys: 1 × 200, 31 × 409 device-already-registered', async () => {
  const { key } = await issueKey();
  const { uuid } = newDevice();
  const answers = await callConcurrently(Array.from({ length: 32 }, () => registration(key, newDevice({ uuid }))));
  const outcomes = answers.map(({ status, body }) => `${status} ${body.code ?? ''}`).sort();
  expect(outcomes).toEqual(['200 ', ...Array(31).fill('409 device-already-registered')]);
  expect(await counts(berth)).toEqual({ devices: 1, users: 1, acls: 1, events: 1, used: 1 });
});
