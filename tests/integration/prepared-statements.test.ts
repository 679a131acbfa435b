import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { query } from '../../lib/database/db.ts';
import { call } from '../support/api.ts';
import { addBroker, type Berth, bearer, issueKey, newDevice, register, startBerth } from '../support/berth.ts';

/** The named statements of the handlers' connection, and how often each was executed. */
async function prepared(): Promise<{ statement: string; executed: number }[]> {
  const ctx = { requestId: 'prepared', sourceIp: '', actor: 'device' as const, deadline: Date.now() + 5_000 };
  return query(
    ctx,
    (sql) => sql`
      select statement, (generic_plans + custom_plans)::float8 as executed
      from pg_prepared_statements where statement not like '%pg_prepared_statements%'`,
  );
}

describe.each(['true', 'false'])('DATABASE_PREPARE=%s', (DATABASE_PREPARE) => {
  let berth: Berth;
  let key: string;
  beforeAll(async () => {
    berth = await startBerth({ env: { DATABASE_PREPARE } });
    await addBroker(berth, { is_default: true });
    ({ key } = await issueKey({ maxDevices: 100 }));
  });
  afterAll(() => berth.stop());

  it('200: registers, repeats and polls, several times on one connection', async () => {
    for (let i = 0; i < 7; i++) {
      const device = newDevice();
      const first = await register(key, device);
      expect(first).toMatchObject({ status: 200, body: { mqtt: { username: `device_${device.uuid}` } } });
      const again = await register(key, device);
      expect(again).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' }, text: first.text });
      const mqtt = await call(`GET /api/v1/device/${device.uuid}/mqtt`, { headers: bearer(device.deviceApiKey) });
      expect(mqtt).toMatchObject({ status: 200, body: first.body.mqtt });
    }
    expect(await berth.sql('select count(*)::integer as devices from devices')).toEqual([{ devices: 7 }]);
  });

  it('keeps the statement of a registration, or none', async () => {
    const kept = (await prepared()).filter(({ statement }) => /insert into devices/i.test(statement));
    if (DATABASE_PREPARE === 'false') expect(await prepared()).toEqual([]);
    else expect(kept).toEqual([{ statement: expect.any(String), executed: 14 }]);
  });

  it('200: continues with another connection, which has prepared nothing', async () => {
    await berth.sql(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'berth'`);
    expect(await register(key, newDevice())).toMatchObject({ status: 200 });
  });
});
