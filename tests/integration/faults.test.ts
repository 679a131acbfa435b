import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { call } from '../support/api.ts';
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
import { type Mode, startProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let berth: Berth;
let proxy: TcpProxy;
let key: string;
beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
  const url = new URL(berth.databaseUrl);
  proxy = await startProxy(Number(url.port));
  url.port = String(proxy.port);
  setEnv({ DATABASE_URL: url.href });
  key = (await issueKey({ maxDevices: 1000 })).key;
});
afterAll(async () => {
  await berth.stop();
  await proxy.close();
});
afterEach(() => proxy.set('pass'));

describe.each<Mode>(['refuse', 'reset', 'hang-up', 'stall'])('a database that answers with: %s', (mode) => {
  it('is 503 with Retry-After within 6 s, and the next request after it is back works', async () => {
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

  it('is 503 for an operator too', async () => {
    await proxy.set(mode);
    const query = { fleetId: 'fleet-a' };
    expect(await call('GET /api/v1/provisioning-keys', { headers: admin, query })).toMatchObject({ status: 503 });
    await proxy.set('pass');
    expect(await call('GET /api/v1/provisioning-keys', { headers: admin, query })).toMatchObject({ status: 200 });
  });
});

it('a connection that dies between two requests costs the second one nothing', async () => {
  await register(key, newDevice());
  await berth.sql(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1',
    ['berth'],
  );
  expect((await register(key, newDevice())).status).toBe(200);
});

it('a connection that is reset the moment a request comes costs that request nothing', async () => {
  for (let n = 0; n < 20; n++) {
    await register(key, newDevice());
    await proxy.set('reset');
    await proxy.set('pass');
    const started = Date.now();
    expect((await register(key, newDevice())).status).toBe(200);
    expect(Date.now() - started).toBeLessThan(2_000);
  }
});

it('a connection killed under the statement is replaced, and the device is registered once', async () => {
  await berth.sql(
    `create or replace function linger() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return new; end $$`,
  );
  await berth.sql('create trigger linger before insert on devices for each row execute function linger()');
  try {
    const before = await counts(berth);
    const pending = register(key, newDevice());
    await new Promise((resolve) => setTimeout(resolve, 200));
    await berth.sql(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1',
      ['berth'],
    );
    expect((await pending).status).toBe(200);
    const after = await counts(berth);
    expect([after.devices - before.devices, after.used - before.used]).toEqual([1, 1]);
  } finally {
    await berth.sql('drop trigger linger on devices');
  }
});

it('a database that hangs up at once is asked a few times, not without end', async () => {
  await proxy.set('hang-up');
  const before = proxy.accepted();
  expect((await register(key, newDevice())).status).toBe(503);
  expect(proxy.accepted() - before).toBeLessThanOrEqual(8);
});

it('a request leaves the gateway time to answer: it gives up before the Lambda is ended', async () => {
  await proxy.set('stall');
  const started = Date.now();
  const { status } = await register(key, newDevice(), { remainingMs: 2_500 });
  expect(status).toBe(503);
  expect(Date.now() - started).toBeLessThan(2_400);
});
