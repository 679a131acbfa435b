import { randomBytes } from 'node:crypto';
import { hash } from 'bcryptjs';
import pg from 'pg';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { call } from '../support/api.ts';
import { bearer, issueKey, newDevice, register, setEnv, unknownKey, useBerth } from '../support/berth.ts';

const berth = useBerth();
beforeEach(() => berth.sql('truncate device_events, refusal_counts'));

const legacyKey = () => randomBytes(32).toString('hex');
const refusalsRecorded = async () =>
  (await berth.sql(`select count(*)::int as n from device_events where type = 'refused'`))[0]?.n;
const times = async <T>(n: number, run: () => Promise<T>) => {
  const all: T[] = [];
  for (let i = 0; i < n; i++) all.push(await run());
  return all;
};

describe('behind a proxy that names the address in CLIENT_ADDRESS_HEADER', () => {
  const header = 'x-address-0123456789abcdef';
  const set = (name: string) =>
    setEnv({ DATABASE_URL: process.env.DATABASE_URL as string, CLIENT_ADDRESS_HEADER: name });
  const wrongKeyFrom = (address: string, name = header) =>
    register(unknownKey(), newDevice(), { headers: { ...bearer(unknownKey()), [name]: address } });
  const addresses = async () =>
    (await berth.sql('select distinct source_ip from device_events order by 1')).map(({ source_ip }) => source_ip);

  it('429 for that address only; 401 for others that come through the same proxy', async () => {
    set(header);
    const replies = await times(21, () => wrongKeyFrom('203.0.113.9'));
    expect(replies.map(({ status }) => status)).toEqual([...Array(20).fill(401), 429]);
    expect((await wrongKeyFrom('2001:db8::7')).status).toBe(401);
    expect(await addresses()).toEqual(['2001:db8::7', '203.0.113.9']);
  });

  it.each(['', 'unknown', '203.0.113.9, 203.0.113.10', '203.0.113.9:443'])(
    '"%s" is no address: the gateway’s counts',
    async (text) => {
      set(header);
      await wrongKeyFrom(text);
      expect(await addresses()).toEqual(['198.51.100.7']);
    },
  );

  it.each([header, 'x-forwarded-for', 'cloudfront-viewer-address'])(
    'without the setting, %s is ignored',
    async (name) => {
      set('');
      await wrongKeyFrom('203.0.113.9', name);
      expect(await addresses()).toEqual(['198.51.100.7']);
    },
  );
});

describe('wrong provisioning keys from one address', () => {
  it('20 × 401, each recorded; then 429 with Retry-After, not recorded', async () => {
    const replies = await times(30, () => register(unknownKey(), newDevice()));
    expect(replies.map(({ status }) => status)).toEqual([...Array(20).fill(401), ...Array(10).fill(429)]);
    const last = replies.at(-1);
    expect(last?.body).toMatchObject({ error: 'Too many requests', code: 'too-many-requests' });
    expect(Number(last?.headers['retry-after'])).toBeGreaterThan(14 * 60);
    expect(Number(last?.headers['retry-after'])).toBeLessThanOrEqual(15 * 60);
    expect(await refusalsRecorded()).toBe(20);
  });

  it('during the 429s: 200 for a correct key, 401 for a wrong key from another address', async () => {
    await times(25, () => register(unknownKey(), newDevice()));
    const { key } = await issueKey();
    expect((await register(unknownKey(), newDevice())).status).toBe(429);
    expect((await register(key, newDevice())).status).toBe(200);
    expect((await register(unknownKey(), newDevice(), { ip: '203.0.113.9' })).status).toBe(401);
  });

  it('Retry-After counts from the first refusal', async () => {
    await times(19, () => register(unknownKey(), newDevice()));
    await berth.sql(`update refusal_counts set until = until - interval '10 minutes'`);
    await times(2, () => register(unknownKey(), newDevice()));
    const { status, headers } = await register(unknownKey(), newDevice());
    expect(status).toBe(429);
    expect(Number(headers['retry-after'])).toBeGreaterThan(4 * 60);
    expect(Number(headers['retry-after'])).toBeLessThanOrEqual(5 * 60);
  });

  it('401 again after 15 minutes: blocked attempts do not extend the block', async () => {
    await times(25, () => register(unknownKey(), newDevice()));
    await berth.sql(`update refusal_counts set until = until - interval '16 minutes'`);
    expect((await register(unknownKey(), newDevice())).status).toBe(401);
  });

  it('a refusal is recorded with device, actor, reason, source address and request id', async () => {
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

  it('429 for each legacy-format key, even the correct one, until it was upgraded from another address', async () => {
    const right = legacyKey();
    await berth.sql(
      `insert into provisioning_keys (key_hash, fleet_id, expires_at) values ($1, 'old', now() + interval '1 day')`,
      [await hash(right, 10)],
    );
    await times(20, () => register(unknownKey(), newDevice()));
    expect((await register(legacyKey(), newDevice())).status).toBe(429);
    // The correct key is not compared either. From another address it is: then its hash is upgraded, and needs no comparison.
    expect((await register(right, newDevice())).status).toBe(429);
    expect((await register(right, newDevice(), { ip: '203.0.113.9' })).status).toBe(200);
    expect((await register(right, newDevice())).status).toBe(200);
  });
});

describe('wrong device keys of one device', () => {
  it('20 × 401, then 429; meanwhile 200 for the correct key, 401 for another device or another address', async () => {
    const { key } = await issueKey();
    const [bad, good] = [newDevice(), newDevice()];
    await register(key, bad);
    await register(key, good);
    const ask = (device: typeof bad, deviceKey: string, ip = '198.51.100.7') =>
      call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(deviceKey), ip });
    const replies = await times(25, () => ask(bad, 'wrong'));
    expect(replies.map(({ status }) => status)).toEqual([...Array(20).fill(401), ...Array(5).fill(429)]);
    expect((await ask(bad, bad.deviceApiKey)).status).toBe(200);
    expect((await ask(good, 'wrong')).status).toBe(401);
    expect((await ask(bad, 'wrong', '203.0.113.9')).status).toBe(401);
  });
});

describe('refusals of one device for several reasons', () => {
  it('each reason has its own limit: after 25 × 403 device-inactive a wrong key gets 401, and each is recorded', async () => {
    const { key } = await issueKey();
    const device = newDevice();
    await register(key, device);
    await berth.sql('update devices set is_active = false where uuid = $1', [device.uuid]);
    const ask = (deviceKey: string) => call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(deviceKey) });
    const inactive = await times(25, () => ask(device.deviceApiKey));
    expect(inactive.map(({ status }) => status)).toEqual(Array(25).fill(403));
    expect((await ask('wrong')).status).toBe(401);
    expect(await refusalsRecorded()).toBe(21);
  });
});

describe('100 wrong device keys of one device, from any address', () => {
  const ask = ({ uuid }: { uuid: string }, deviceKey: string, ip = '198.51.100.7') =>
    call(`GET /api/v1/device/${uuid}/mqtt`, { headers: bearer(deviceKey), ip });

  it('then 429 for the correct key, in a poll, a key exchange and a replay; 200 for other devices and after 15 minutes', async () => {
    const { key } = await issueKey();
    const [bad, good] = [newDevice(), newDevice()];
    await register(key, bad);
    await register(key, good);
    for (let n = 0; n < 99; n++) await ask(bad, 'wrong', `203.0.113.${n % 3}`);
    expect((await ask(bad, bad.deviceApiKey)).status).toBe(200);
    await ask(bad, 'wrong', '203.0.113.9');
    const body = { deviceApiKey: bad.deviceApiKey };
    const exchange = `POST /api/v1/device/${bad.uuid}/key-exchange`;
    for (const reply of [
      await ask(bad, bad.deviceApiKey),
      await ask(bad, 'wrong', '192.0.2.1'),
      await call(exchange, { headers: bearer(bad.deviceApiKey), body }),
      await register(key, bad),
    ]) {
      expect(reply).toMatchObject({ status: 429, body: { code: 'too-many-requests' } });
      expect(Number(reply.headers['retry-after'])).toBeGreaterThan(14 * 60);
    }
    expect((await ask(good, good.deviceApiKey)).status).toBe(200);
    expect((await register(key, newDevice())).status).toBe(200);
    await berth.sql(`update refusal_counts set until = until - interval '16 minutes'`);
    expect((await ask(bad, bad.deviceApiKey)).status).toBe(200);
  });

  it.each(['valid', 'expired'])('a replay counts too, with a provisioning key that is %s', async (state) => {
    const { id, key } = await issueKey();
    const device = newDevice();
    await register(key, device);
    if (state === 'expired') {
      await berth.sql(`update provisioning_keys set expires_at = '2020-01-01' where id = $1`, [id]);
    }
    const guess = (n: number) => register(key, { ...device, deviceApiKey: `guess-${1_000 + n}` });
    const statuses = await times(105, () => guess(0).then(({ status }) => status));
    expect(statuses.slice(0, 100)).toEqual(Array(100).fill(state === 'valid' ? 409 : 401));
    expect(statuses.slice(100)).toEqual(Array(5).fill(429));
    expect((await register(key, device)).status).toBe(429);
  });
});

describe('refusals of a correct provisioning key', () => {
  it('always 401 with the reason, never 429, for each device; the first 20 of a key and address are recorded', async () => {
    const { key } = await issueKey({ maxDevices: 1 });
    await register(key, newDevice());
    const replies = await Promise.all(Array.from({ length: 40 }, () => register(key, newDevice())));
    for (const { status, body } of replies) {
      expect({ status, message: body.message }).toEqual({
        status: 401,
        message: 'Provisioning key device limit exceeded',
      });
    }
    expect(await refusalsRecorded()).toBe(20);
    expect((await register(key, newDevice(), { ip: '203.0.113.9' })).status).toBe(401);
    expect(await refusalsRecorded()).toBe(21);
    const device = newDevice();
    await berth.sql('truncate device_events, refusal_counts');
    await times(25, () => register(key, device));
    expect(await refusalsRecorded()).toBe(20);
  });

  it.each([
    ['provisioning-key-revoked', 'is_active = false'],
    ['provisioning-key-expired', `expires_at = '2020-01-01'`],
  ])('%s: the same, counted for each key', async (code, change) => {
    const keys = [await issueKey(), await issueKey()];
    await berth.sql(`update provisioning_keys set ${change}`);
    for (const { key } of keys) {
      for (const { status, body } of await times(25, () => register(key, newDevice()))) {
        expect([status, body.code]).toEqual([401, code]);
      }
    }
    expect(await refusalsRecorded()).toBe(40);
  });

  it('409 device-already-registered for each of 25 devices; the first 20 of a key and address are recorded', async () => {
    const { key } = await issueKey();
    const devices = Array.from({ length: 25 }, () => newDevice());
    for (const device of devices) await register(key, device);
    for (const device of devices) {
      const reply = await register(key, { ...device, deviceApiKey: newDevice().deviceApiKey });
      expect([reply.status, reply.body.code]).toEqual([409, 'device-already-registered']);
    }
    expect(await refusalsRecorded()).toBe(20);
  });

  it('past the limit a refusal writes nothing and takes less than 50 ms, beside 200,000 refusals and as many counters', async () => {
    const { id, key } = await issueKey({ maxDevices: 1 });
    await register(key, newDevice());
    await times(20, () => register(key, newDevice()));
    await berth.sql(
      `insert into device_events (type, device_uuid, reason, source_ip)
       select 'refused', 'flood-' || n, 'provisioning-key-exhausted', '198.51.100.7' from generate_series(1, 200000) n`,
    );
    await berth.sql(
      `insert into refusal_counts select '198.51.100.7', 'provisioning-key-exhausted', 'key-' || n from generate_series(1, 200000) n`,
    );
    const count = async () =>
      (await berth.sql('select * from refusal_counts where subject = $1', [id])).concat(
        await berth.sql('select count(*) as n from device_events'),
      );
    const before = await count();
    const started = performance.now();
    await times(20, () => register(key, newDevice()));
    expect((performance.now() - started) / 20, 'ms for a refusal').toBeLessThan(50);
    expect(await count()).toEqual(before);
  });

  it('a refusal does not wait for a counter that another request removes', async () => {
    await register(unknownKey(), newDevice());
    await berth.sql(`update refusal_counts set until = until - interval '16 minutes'`);
    const other = new pg.Client({ connectionString: berth.databaseUrl });
    await other.connect();
    onTestFinished(() => other.end());
    await other.query('begin; delete from refusal_counts');
    const started = Date.now();
    expect((await register(unknownKey(), newDevice(), { ip: '203.0.113.9' })).status).toBe(401);
    expect(Date.now() - started).toBeLessThan(1_500);
  });

  it('counters whose window is over are removed', async () => {
    await times(3, () => register(unknownKey(), newDevice()));
    await berth.sql(`update refusal_counts set until = until - interval '16 minutes'`);
    await register(unknownKey(), newDevice(), { ip: '203.0.113.9' });
    expect(await berth.sql('select source_ip, refusals from refusal_counts')).toEqual([
      { source_ip: '203.0.113.9', refusals: 1 },
    ]);
  });
});
