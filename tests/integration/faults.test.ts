import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { log } from '../../lib/log.ts';
import { call } from '../support/api.ts';
import {
  admin,
  counts,
  issueKey,
  newDevice,
  register,
  setEnv,
  TERMINATE_CONNECTIONS,
  useBerth,
  withTrigger,
} from '../support/berth.ts';
import { type Mode, startProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const berth = useBerth();
let proxy: TcpProxy;
let key: string;
beforeAll(async () => {
  const url = new URL(process.env.DATABASE_URL as string);
  proxy = await startProxy(Number(url.port));
  setEnv({ DATABASE_URL: Object.assign(url, { port: proxy.port }).href });
  key = (await issueKey({ maxDevices: 1000 })).key;
});
afterAll(() => proxy.close());
afterEach(() => proxy.set('pass'));

describe.each<Mode>(['refuse', 'reset', 'hang-up', 'stall'])('database fault: %s', (mode) => {
  it('503 database-unavailable with Retry-After within 6 s; the first request after the recovery works', async () => {
    const device = newDevice();
    await proxy.set(mode);
    const started = Date.now();
    const { status, body, headers } = await register(key, device);
    expect({ status, code: body.code }).toEqual({ status: 503, code: 'database-unavailable' });
    expect(Date.now() - started).toBeLessThan(6_000);
    expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
    await proxy.set('pass');
    const again = await register(key, device);
    expect(again.status).toBe(200);
    expect((await register(key, device)).text).toBe(again.text);
  });

  it('503 database-unavailable: an operator’s request; the first one after the recovery works', async () => {
    await proxy.set(mode);
    const query = { fleetId: 'fleet-a' };
    expect(await call('GET /api/v1/provisioning-keys', { headers: admin, query })).toMatchObject({
      status: 503,
      body: { code: 'database-unavailable' },
    });
    await proxy.set('pass');
    expect(await call('GET /api/v1/provisioning-keys', { headers: admin, query })).toMatchObject({ status: 200 });
  });
});

it('every line about the database in the log has the id of the request', async () => {
  const lines = (['warn', 'error'] as const).map((level) => vi.spyOn(log, level));
  onTestFinished(() => void vi.restoreAllMocks());
  await proxy.set('reset');
  const { body } = await register(key, newDevice());
  const logged = lines.flatMap(({ mock }) => mock.calls).filter(([what]) => String(what).startsWith('database'));
  expect(logged.map(([what]) => what)).toEqual(
    expect.arrayContaining(['database statement repeated', 'database unavailable']),
  );
  for (const [what, fields] of logged) expect(fields, String(what)).toMatchObject({ requestId: body.requestId });
});

it('200: the first request after the server closed the idle connection', async () => {
  await register(key, newDevice());
  expect(await berth.sql(TERMINATE_CONNECTIONS)).toHaveLength(1);
  expect((await register(key, newDevice())).status).toBe(200);
});

it('200 within 2 s, 20 times: the connection is reset just before the request', async () => {
  for (let n = 0; n < 20; n++) {
    await register(key, newDevice());
    await proxy.set('reset');
    await proxy.set('pass');
    const started = Date.now();
    expect((await register(key, newDevice())).status).toBe(200);
    expect(Date.now() - started).toBeLessThan(2_000);
  }
});

it('200 and registered once: the connection is killed while the statement runs', async () => {
  const before = await counts(berth);
  await withTrigger(berth, 'before insert on devices', 'perform pg_sleep(0.5)', async () => {
    const pending = register(key, newDevice());
    await sleep(200);
    expect(await berth.sql(TERMINATE_CONNECTIONS)).toHaveLength(1);
    expect((await pending).status).toBe(200);
  });
  const after = await counts(berth);
  expect([after.devices - before.devices, after.used - before.used]).toEqual([1, 1]);
});

it('503 after at most 4 connection attempts: the database closes each connection immediately', async () => {
  await proxy.set('hang-up');
  const before = proxy.accepted();
  expect((await register(key, newDevice())).status).toBe(503);
  expect(proxy.accepted() - before).toBeLessThanOrEqual(4);
});

it('503 within 2.4 s: the database stalls and the Lambda has 2.5 s left', async () => {
  await proxy.set('stall');
  const started = Date.now();
  const { status } = await register(key, newDevice(), { remainingMs: 2_500 });
  expect(status).toBe(503);
  expect(Date.now() - started).toBeLessThan(2_400);
});
