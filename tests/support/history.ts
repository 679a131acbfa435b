import { expect } from 'vitest';
import type { Answer } from './api.ts';
import { type Device, newDevice } from './berth.ts';
import type { Instance, TimedAnswer } from './instances.ts';
import type { OwnPostgres } from './own-postgres.ts';

/** A registration as its client saw it. */
export type Attempt = { device: Device; key: string; answer: TimedAnswer; answeredAt: number };

/** Requests and replies during a database fault, to be checked afterwards against the database. */
export type History = Attempt[];

/** A request may take 5 s; the rest is for a busy machine. */
export const BUDGET_MS = 6_000;

/** Registers this device at the instance and adds the outcome to the history. */
export async function attempt(history: History, instance: Instance, key: string, device: Device): Promise<Attempt> {
  const answer = await instance.call('POST /api/v1/device/register', {
    headers: { authorization: `Bearer ${key}` },
    body: device,
  });
  const made = { device, key, answer, answeredAt: Date.now() };
  history.push(made);
  return made;
}

export type Work = {
  /** Where a failed registration is repeated: a gateway sends it to any free instance. */
  retryAt: Instance;
  /** The provisioning key of the nth device. */
  keyOf: (n: number) => string;
  isOver: () => boolean;
  pauseMs: number;
};

/** Registers new devices one after the other until `isOver`. Repeats most of the failed ones, as devices without an answer do. */
export async function keepRegistering(
  history: History,
  instance: Instance,
  { retryAt, keyOf, isOver, pauseMs }: Work,
): Promise<void> {
  for (let n = 0; !isOver(); n++) {
    const device = newDevice();
    const { answer } = await attempt(history, instance, keyOf(n), device);
    if (answer.status === 503 && n % 4 !== 0 && !isOver()) await attempt(history, retryAt, keyOf(n), device);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

export type Key = { id: string; key: string; maxDevices: number };

/**
 * Checks the history against the database: every answer was permitted and in time, every acknowledged device exists, and the
 * keys' counters lie between the acknowledged and the possible registrations.
 */
export async function checkHistory(postgres: OwnPostgres, history: History, keys: Key[]): Promise<void> {
  for (const { answer } of history) {
    const { status, body, ms } = answer;
    const outcome = status === 200 ? 'registered' : body.code;
    expect(outcome).toMatch(/^(registered|database-unavailable|provisioning-key-exhausted)$/);
    expect(ms, 'a request that hung').toBeLessThan(BUDGET_MS);
  }
  const rows = await postgres.sql('select uuid, provisioned_by_key_id as key from devices');
  const present = new Set(rows.map(({ uuid }) => uuid));
  const acknowledged = new Set(uuidsOf(history, isAcknowledged));
  expect(
    [...acknowledged].filter((uuid) => !present.has(uuid)),
    'acknowledged and lost',
  ).toEqual([]);
  for (const { id, key, maxDevices } of keys) {
    const ofKey = history.filter((one) => one.key === key);
    const ok = new Set(uuidsOf(ofKey, isAcknowledged));
    const unknown = uuidsOf(ofKey, ({ answer }) => answer.status === 503).filter((uuid) => !ok.has(uuid));
    const [row] = await postgres.sql('select devices_provisioned as used from provisioning_keys where id = $1', [id]);
    const devices = rows.filter((one) => one.key === id).length;
    expect(row?.used, 'a place for every device and no other').toBe(devices);
    expect(row?.used).toBeGreaterThanOrEqual(ok.size);
    expect(row?.used).toBeLessThanOrEqual(Math.min(maxDevices, ok.size + new Set(unknown).size));
  }
  const [written] = await postgres.sql(`
    select (select count(*) from mqtt_users) as users, (select count(*) from mqtt_acls) as acls,
           (select count(*) from device_events where type = 'registered') as events`);
  expect(written).toEqual({ users: `${rows.length}`, acls: `${rows.length}`, events: `${rows.length}` });
}

/**
 * Repeats the registrations without an acknowledgement, and some with one: two repetitions have the same answer, and an
 * acknowledged registration has the same answer as before.
 */
export async function repeat(history: History, instance: Instance): Promise<{ unknown: number; replayed: number }> {
  const acknowledged = Map.groupBy(history.filter(isAcknowledged), ({ device }) => device.uuid);
  const unknown = new Map(
    history
      .filter(({ device, answer }) => answer.status === 503 && !acknowledged.has(device.uuid))
      .map((one) => [one.device.uuid, one]),
  );
  for (const { device, key } of unknown.values()) {
    const [first, second] = [await attempt([], instance, key, device), await attempt([], instance, key, device)];
    expect([200, 401]).toContain(first.answer.status);
    expect(withoutRequest(second.answer)).toBe(withoutRequest(first.answer));
  }
  const some = [...acknowledged.values()].filter((_, n) => n % 20 === 0);
  for (const [first] of some as [Attempt][]) {
    const { answer } = await attempt([], instance, first.key, first.device);
    expect(answer.text).toBe(first.answer.text);
    expect(answer.headers['idempotent-replayed']).toBe('true');
  }
  for (const attempts of acknowledged.values()) {
    expect(new Set(attempts.map(({ answer }) => answer.text)).size, 'one device, one answer').toBe(1);
  }
  return { unknown: unknown.size, replayed: some.length };
}

function isAcknowledged({ answer }: Attempt): boolean {
  return answer.status === 200;
}

function uuidsOf(history: History, fits: (one: Attempt) => boolean): string[] {
  return history.filter(fits).map(({ device }) => device.uuid);
}

function withoutRequest({ text }: Answer): string {
  return text.replace(/"requestId":"[^"]*"/, '');
}
