import { randomBytes } from 'node:crypto';
import { hash } from 'bcryptjs';
import { beforeEach, expect, it } from 'vitest';
import { newDevice, register, unknownKey, useBerth } from '../support/berth.ts';
import { startInstances, stopInstances } from '../support/instances.ts';

const berth = useBerth();
beforeEach(() => berth.sql('truncate provisioning_keys, refusal_counts, leases'));

const legacyKey = () => randomBytes(32).toString('hex');
/** Time for the statements, and none for a comparison. */
const NO_TIME = { remainingMs: 3_200 };

/** Adds `n` hashes that no key matches, each as slow as a real one, and then the hash of `key`. */
async function addHashes(n: number, key = legacyKey()): Promise<void> {
  const other = await hash('other', 10);
  await berth.sql(
    `insert into provisioning_keys (key_hash, fleet_id, expires_at, last_used_at)
     select $1 || lpad(n::text, 4, '.'), 'old', now() + interval '1 day', now() from generate_series(1, $2::int) n`,
    [other.slice(0, -4), n],
  );
  await berth.sql(
    `insert into provisioning_keys (key_hash, fleet_id, expires_at) values ($1, 'old', now() + interval '1 day')`,
    [await hash(key, 10)],
  );
}
const outcomesOf = async (replies: { status: number; body: { code?: string } }[]) =>
  Object.groupBy(replies, ({ status, body }) => `${status} ${body.code ?? ''}`.trim());

it('20 × 503, then 429: comparisons that run out of time are counted, by address', async () => {
  await addHashes(1);
  const statuses: number[] = [];
  for (let i = 0; i < 25; i++) statuses.push((await register(legacyKey(), newDevice(), NO_TIME)).status);
  expect(statuses).toEqual([...Array(20).fill(503), ...Array(5).fill(429)]);
  const elsewhere = await register(legacyKey(), newDevice(), { ...NO_TIME, ip: '203.0.113.9' });
  expect(elsewhere).toMatchObject({ status: 503, body: { code: 'key-check-unfinished' } });
});

it('a comparison that finds its key sets the count to zero', async () => {
  const key = legacyKey();
  await addHashes(1, key);
  for (let i = 0; i < 19; i++) await register(legacyKey(), newDevice(), NO_TIME);
  expect((await register(key, newDevice())).status).toBe(200);
  expect((await register(legacyKey(), newDevice(), NO_TIME)).status).toBe(503);
});

it('it sets no other count to zero: neither that of another address, nor that of wrong keys', async () => {
  const key = legacyKey();
  await addHashes(1, key);
  const elsewhere = { ...NO_TIME, ip: '203.0.113.9' };
  for (let i = 0; i < 20; i++) await register(legacyKey(), newDevice(), elsewhere);
  for (let i = 0; i < 19; i++) await register(unknownKey(), newDevice());
  expect((await register(key, newDevice())).status).toBe(200);
  expect((await register(legacyKey(), newDevice(), elsewhere)).status).toBe(429);
  const wrong = [await register(unknownKey(), newDevice()), await register(unknownKey(), newDevice())];
  expect(wrong.map(({ status }) => status)).toEqual([401, 429]);
});

it('simultaneous comparisons: one of an address, two of all; the others get 503 within 2 s', async () => {
  await addHashes(400);
  const instances = await startInstances(6);
  try {
    // Each instance opens its connection first.
    await Promise.all(instances.map(({ call }) => call('POST /api/v1/device/register', registration(unknownKey()))));
    const one = await Promise.all(
      instances.map(({ call }) => call('POST /api/v1/device/register', registration(legacyKey()))),
    );
    expect(Object.keys(await outcomesOf(one))).toEqual(['503 key-check-unfinished']);
    expect(one.filter(({ ms }) => ms > 2_000)).toHaveLength(1);
    const several = await Promise.all(
      instances.map(({ call }, n) =>
        call('POST /api/v1/device/register', { ...registration(legacyKey()), ip: `203.0.113.${n}` }),
      ),
    );
    expect(several.filter(({ ms }) => ms > 2_000)).toHaveLength(2);
    expect(several.every(({ headers }) => Number(headers['retry-after']) >= 1)).toBe(true);
  } finally {
    await stopInstances(instances);
  }
});
const registration = (key: string) => ({ headers: { authorization: `Bearer ${key}` }, body: newDevice() });

it('a correct key is found after several requests: 200 random keys between two of them do not discard its progress', async () => {
  const key = legacyKey();
  await addHashes(20, key);
  // 0.5 s for the comparison; all 20 take 1 s or more.
  const ask = () => register(key, newDevice(), { remainingMs: 4_000 });
  let requests = 1;
  let reply = await ask();
  while (reply.status === 503 && requests < 19) {
    for (let n = 0; n < 200; n++) {
      await register(legacyKey(), newDevice(), { ...NO_TIME, ip: `198.51.${requests}.${n % 20}` });
    }
    reply = await ask();
    requests++;
  }
  expect(reply.status).toBe(200);
  expect(requests).toBeGreaterThan(1);
}, 60_000);
