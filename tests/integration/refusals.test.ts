import { randomBytes } from 'node:crypto';
import { hash } from 'bcryptjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
import { addBroker, type Berth, issueKey, newDevice, register, startBerth } from '../support/berth.ts';

let berth: Berth;
beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
});
afterAll(() => berth.stop());
beforeEach(() => berth.sql('delete from device_events'));

const unknownKey = () => `prov_00000000-0000-4000-8000-000000000000_${randomBytes(32).toString('base64url')}`;
const legacyKey = () => randomBytes(32).toString('hex');
const refused = async () =>
  (await berth.sql(`select count(*)::int as n from device_events where type = 'refused'`))[0]?.n;
const times = async <T>(n: number, run: () => Promise<T>) => {
  const all: T[] = [];
  for (let i = 0; i < n; i++) all.push(await run());
  return all;
};

describe('wrong provisioning keys from one address', () => {
  it('are 401 and written 20 times, then 429 with Retry-After and not written', async () => {
    const replies = await times(30, () => register(unknownKey(), newDevice()));
    expect(replies.map(({ status }) => status)).toEqual([...Array(20).fill(401), ...Array(10).fill(429)]);
    const last = replies.at(-1);
    expect(last?.body).toMatchObject({ error: 'Too many requests', code: 'too-many-requests' });
    expect(Number(last?.headers['retry-after'])).toBeGreaterThan(14 * 60);
    expect(Number(last?.headers['retry-after'])).toBeLessThanOrEqual(15 * 60);
    expect(await refused()).toBe(20);
  });

  it('do not keep a correct key from passing, nor another address from its 401', async () => {
    await times(25, () => register(unknownKey(), newDevice()));
    const { key } = await issueKey();
    expect((await register(key, newDevice())).status).toBe(200);
    expect((await register(unknownKey(), newDevice(), { ip: '203.0.113.9' })).status).toBe(401);
  });

  it('a block ends by itself: blocked tries do not renew it', async () => {
    await times(25, () => register(unknownKey(), newDevice()));
    await berth.sql(`update device_events set at = at - interval '16 minutes'`);
    expect((await register(unknownKey(), newDevice())).status).toBe(401);
  });

  it('are recorded with who, from where and why', async () => {
    const device = newDevice();
    const { body } = await register(unknownKey(), device);
    expect(
      await berth.sql('select type, device_uuid, actor, reason, source_ip, request_id from device_events'),
    ).toEqual([
      {
        type: 'refused',
        device_uuid: device.uuid,
        actor: `device:${device.uuid}`,
        reason: 'invalid-provisioning-key',
        source_ip: '198.51.100.7',
        request_id: body.requestId,
      },
    ]);
  });

  it('past the limit never reach the slow comparison with legacy hashes', async () => {
    const right = legacyKey();
    await berth.sql(
      `insert into provisioning_keys (key_hash, fleet_id, expires_at) values ($1, 'old', now() + interval '1 day')`,
      [await hash(right, 10)],
    );
    await times(20, () => register(unknownKey(), newDevice()));
    expect((await register(legacyKey(), newDevice())).status).toBe(429);
    // The right one is not compared either; from an unblocked address it is, and upgraded: then it passes everywhere.
    expect((await register(right, newDevice())).status).toBe(429);
    expect((await register(right, newDevice(), { ip: '203.0.113.9' })).status).toBe(200);
    expect((await register(right, newDevice())).status).toBe(200);
  });
});

describe('wrong device keys', () => {
  it('block one device at one address, no other device behind it', async () => {
    const { key } = await issueKey();
    const [bad, good] = [newDevice(), newDevice()];
    await register(key, bad);
    await register(key, good);
    const ask = (device: typeof bad, deviceKey: string) =>
      call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: { authorization: `Bearer ${deviceKey}` } });
    const replies = await times(25, () => ask(bad, 'wrong'));
    expect(replies.map(({ status }) => status)).toEqual([...Array(20).fill(401), ...Array(5).fill(429)]);
    expect((await ask(bad, bad.deviceApiKey)).status).toBe(200);
    expect((await ask(good, 'wrong')).status).toBe(401);
  });
});

describe('refusals of a right key', () => {
  it('keep their answer however many, and are written 20 times', async () => {
    const { key } = await issueKey({ maxDevices: 1 });
    await register(key, newDevice());
    const replies = await Promise.all(Array.from({ length: 40 }, () => register(key, newDevice())));
    for (const { status, body } of replies) {
      expect({ status, message: body.message }).toEqual({
        status: 401,
        message: 'Provisioning key device limit exceeded',
      });
    }
    expect(await refused()).toBeLessThanOrEqual(40);
    const device = newDevice();
    await berth.sql('delete from device_events');
    await times(25, () => register(key, device));
    expect(await refused()).toBe(20);
  });
});
