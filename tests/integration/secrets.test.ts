import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { grantToApp } from '../../lib/database/app-role.ts';
import { scheduled } from '../../lib/http/scheduled.ts';
import { settings } from '../../lib/settings/settings.ts';
import type { Answer, Call } from '../support/api.ts';
import { addBroker, type Berth, newDevice, setEnv, startBerth } from '../support/berth.ts';
import { type Instance, startInstances } from '../support/instances.ts';
import { PASSWORD, startMqttServer, USERNAME } from '../support/mqtt-servers.ts';
import { arnOf, type SecretsManager, startSecretsManager } from '../support/secrets-manager.ts';

const TTL_MS = 1_000;
/** After that every instance has looked again, and what it was doing with the value before is done. */
const SETTLED_MS = TTL_MS + 700;
const hex = () => randomBytes(32).toString('hex');
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const NAMES = ['BERTH_PEPPER', 'BERTH_SEAL_KEY', 'ADMIN_TOKEN_HASH', 'BROKER_AUTH_SECRET_HASH'];
const PEPPER = hex();
const SEAL_KEY = hex();

let berth: Berth;
let manager: SecretsManager;
let adminToken: string;
let brokerSecret: string;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
});
afterAll(() => berth.stop());
beforeEach(async () => {
  setEnv({});
  manager = await startSecretsManager();
  closing.push(() => manager.close());
  adminToken = hex();
  brokerSecret = hex();
  manager.put(arnOf('BERTH_PEPPER'), PEPPER);
  manager.put(arnOf('BERTH_SEAL_KEY'), SEAL_KEY);
  manager.put(arnOf('ADMIN_TOKEN_HASH'), sha256Hex(adminToken));
  manager.put(arnOf('BROKER_AUTH_SECRET_HASH'), sha256Hex(brokerSecret));
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Instances that have no secret in their environment, only the names of them. */
async function start(count: number, env: Record<string, string> = {}): Promise<Instance[]> {
  const arns = NAMES.flatMap((name) => [[name, ''] as const, [`${name}_ARN`, arnOf(name)] as const]);
  const instances = await startInstances(count, {
    ...manager.env,
    ...Object.fromEntries(arns),
    SECRETS_TTL_SECONDS: String(TTL_MS / 1_000),
    BERTH_STAGE: 'local',
    ...env,
  });
  closing.push(() => Promise.all(instances.map((instance) => instance.stop())));
  return instances;
}

/** A call that has to be answered with this status. */
async function expectCall(instance: Instance, status: number, target: string, options: Call = {}): Promise<Answer> {
  const answer = await instance.call(target, options);
  expect(answer.status, `${target}: ${answer.text}`).toBe(status);
  return answer;
}

const issue = async (instance: Instance): Promise<string> => {
  const options = { headers: bearer(adminToken), body: { fleetId: 'fleet-a', maxDevices: 10_000 } };
  return (await expectCall(instance, 201, 'POST /api/v1/provisioning-keys', options)).body.key;
};
const register = (instance: Instance, key: string, device: object) =>
  expectCall(instance, 200, 'POST /api/v1/device/register', { headers: bearer(key), body: device });

describe('settings that stand in Secrets Manager', () => {
  it('are looked up once in a while, not with every request', async () => {
    const [instance] = (await start(1, { SECRETS_TTL_SECONDS: '60' })) as [Instance];
    const key = await issue(instance);
    for (let n = 0; n < 20; n++) await register(instance, key, newDevice());
    expect(manager.asked.sort()).toEqual(NAMES.map((name) => `${arnOf(name)} AWSCURRENT`).sort());
  });

  it('are not asked for where none is named', async () => {
    const none = Object.fromEntries(NAMES.map((name) => [`${name}_ARN`, '']));
    const [instance] = (await start(1, { ...none, BERTH_PEPPER: PEPPER })) as [Instance];
    await expectCall(instance, 401, 'POST /api/v1/device/register', { headers: bearer('prov_x'), body: newDevice() });
    expect(manager.asked).toEqual([]);
  });

  it.each(['fails', 'denies', 'hangs', 'refuses'] as const)(
    'are used as they were while Secrets Manager %s, which isn’t asked with every request then',
    async (mode) => {
      const [instance] = (await start(1)) as [Instance];
      const key = await issue(instance);
      await manager.set(mode);
      await sleep(TTL_MS);
      const first = await instance.call('POST /api/v1/device/register', { headers: bearer(key), body: newDevice() });
      expect(first.status, first.text).toBe(200);
      expect(first.ms).toBeLessThan(3_000);
      const asked = manager.asked.length;
      for (let n = 0; n < 5; n++) expect((await register(instance, key, newDevice())).status).toBe(200);
      expect(manager.asked.length).toBe(asked);
      await manager.set('answers');
    },
  );

  it.each(['fails', 'denies', 'hangs', 'refuses'] as const)(
    'are missed when they were never there: 503 with Retry-After while Secrets Manager %s',
    async (mode) => {
      const [instance] = (await start(1)) as [Instance];
      await manager.set(mode);
      const answer = await instance.call('POST /api/v1/device/register', {
        headers: bearer('prov_x'),
        body: newDevice(),
        remainingMs: 4_000,
      });
      expect(answer).toMatchObject({ status: 503, body: { code: 'settings-unavailable' } });
      expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
      expect(answer.ms).toBeLessThan(3_500);
      await manager.set('answers');
      await register(instance, await issue(instance), newDevice());
    },
  );

  it('that are put there wrongly are not taken', async () => {
    const [instance] = (await start(1)) as [Instance];
    const key = await issue(instance);
    for (const wrong of ['short', `1:${PEPPER},1:${hex()}`, '']) {
      manager.put(arnOf('BERTH_PEPPER'), wrong);
      await sleep(SETTLED_MS);
      await register(instance, key, newDevice());
    }
    manager.put(arnOf('BERTH_PEPPER'), `1:${PEPPER},2:${hex()}`);
    await sleep(SETTLED_MS);
    await register(instance, key, newDevice());
  });

  it('are there for scheduled runs, too', async () => {
    Object.assign(process.env, manager.env, { BERTH_SEAL_KEY_ARN: arnOf('scheduled') });
    closing.push(async () => {
      for (const name of [...Object.keys(manager.env), 'BERTH_SEAL_KEY_ARN']) delete process.env[name];
    });
    manager.put(arnOf('scheduled'), SEAL_KEY);
    let seen: unknown;
    const run = scheduled(async () => {
      seen = settings().sealKeys;
    });
    await run({ time: '2026-01-01T00:00:00Z' }, { getRemainingTimeInMillis: () => 70_000 } as never);
    expect(seen).toEqual([{ generation: '1', key: Buffer.from(SEAL_KEY, 'hex') }]);
  });

  it('that were wrong from the start are an error, said in the log alone', async () => {
    manager.put(arnOf('BERTH_PEPPER'), 'short');
    const [instance] = (await start(1)) as [Instance];
    const options = { headers: bearer('prov_x'), body: newDevice() };
    const { body } = await expectCall(instance, 500, 'POST /api/v1/device/register', options);
    expect(body.code).toBe('internal');
  });
});

describe('rotated under load, with no request refused:', () => {
  /** Works on all instances at once, over and over, while `change` goes on. Answers how often. */
  async function underLoad(
    instances: Instance[],
    work: (at: Instance, next: Instance) => Promise<void>,
    change: () => Promise<void>,
  ) {
    let isOver = false;
    let count = 0;
    const loops = instances.map(async (at, i) => {
      for (; !isOver; count++) await work(at, instances[(i + 1) % instances.length] as Instance);
    });
    await Promise.race([change(), Promise.all(loops)]);
    isOver = true;
    await Promise.all(loops);
    return count;
  }

  /** Puts a secret's values there one after the other, as an operator does who waits in between. */
  async function rotate(name: string, values: string[]) {
    await sleep(500);
    for (const value of values) {
      manager.put(arnOf(name), value);
      await sleep(SETTLED_MS);
    }
  }

  it('the pepper', async () => {
    const instances = await start(4);
    const key = await issue(instances[0] as Instance);
    const old = newDevice();
    const oldReply = (await register(instances[0] as Instance, key, old)).text;
    const work = async (at: Instance, next: Instance) => {
      const device = newDevice();
      const { text, body } = await register(at, key, device);
      // At once, from an instance that may have seen the change already, or not yet.
      expect((await register(next, key, device)).text).toBe(text);
      const headers = bearer(device.deviceApiKey);
      const own = { deviceApiKey: device.deviceApiKey };
      await expectCall(next, 200, `POST /api/v1/device/${device.uuid}/key-exchange`, { headers, body: own });
      const mqtt = await expectCall(at, 200, `GET /api/v1/device/${device.uuid}/mqtt`, { headers });
      expect(mqtt.body).toEqual(body.mqtt);
      expect((await register(next, key, old)).text).toBe(oldReply);
    };
    const next = hex();
    const rounds = await underLoad(instances, work, () =>
      rotate('BERTH_PEPPER', [`1:${PEPPER},2:${next}`, `2:${next},1:${PEPPER}`]),
    );
    const [made] = await berth.sql(
      `select count(*) filter (where mqtt_password_salt like '1$%')::int as before,
              count(*) filter (where mqtt_password_salt like '2$%')::int as after from devices`,
    );
    expect(made?.before).toBeGreaterThan(20);
    expect(made?.after).toBeGreaterThan(20);
    console.log(`pepper: ${rounds} rounds of 5 requests, ${JSON.stringify(made)}`);
  });

  it('the operators’ token', async () => {
    const instances = await start(4);
    const before = adminToken;
    const after = hex();
    let current = before;
    const work = async (at: Instance) => {
      await expectCall(at, 200, 'GET /api/v1/devices', { headers: bearer(current), query: { limit: '1' } });
      await expectCall(at, 401, 'GET /api/v1/devices', { headers: bearer(hex()) });
    };
    const rounds = await underLoad(instances, work, async () => {
      await rotate('ADMIN_TOKEN_HASH', [`${sha256Hex(before)},${sha256Hex(after)}`]);
      current = after;
      await sleep(200);
      await rotate('ADMIN_TOKEN_HASH', [sha256Hex(after)]);
    });
    for (const at of instances) await expectCall(at, 401, 'GET /api/v1/devices', { headers: bearer(before) });
    expect(rounds).toBeGreaterThan(100);
  });

  it('the brokers’ secret', async () => {
    const instances = await start(4);
    const before = brokerSecret;
    const after = hex();
    let current = before;
    const body = { username: `device_${randomUUID()}`, password: 'x' };
    const work = async (at: Instance) => {
      const options = { headers: bearer(current), body };
      expect((await expectCall(at, 200, 'POST /api/v1/mqtt/auth/user', options)).body.result).toBe('deny');
    };
    const rounds = await underLoad(instances, work, async () => {
      await rotate('BROKER_AUTH_SECRET_HASH', [`${sha256Hex(after)}, ${sha256Hex(before)}`]);
      current = after;
      await sleep(200);
      await rotate('BROKER_AUTH_SECRET_HASH', [sha256Hex(after)]);
    });
    for (const at of instances) {
      await expectCall(at, 401, 'POST /api/v1/mqtt/auth/user', { headers: bearer(before), body });
    }
    expect(rounds).toBeGreaterThan(100);
  });

  it('the seal key', async () => {
    const broker = await startMqttServer({ protocol: 'mqtt' });
    closing.push(() => broker.close());
    const instances = await start(3);
    const path = '/api/v1/mqtt/brokers';
    const headers = bearer(adminToken);
    const settings = { host: 'localhost', port: broker.port, username: USERNAME, password: PASSWORD };
    const create = async (at: Instance) =>
      (await expectCall(at, 201, `POST ${path}`, { headers, body: { name: randomUUID(), ...settings } })).body.data.id;
    const old = await create(instances[0] as Instance);
    // One broker is tested at a time: sealed here, opened there.
    const test = async (at: Instance, id: number) => {
      const { body } = await expectCall(at, 200, `POST ${path}/${id}/test`, { headers });
      expect(body.data).toMatchObject({ reachable: true });
    };
    const work = async (at: Instance) => {
      for (const other of instances) {
        await test(other, await create(at));
        await test(other, old);
      }
    };
    const next = hex();
    const rounds = await underLoad([instances[0] as Instance], work, () =>
      rotate('BERTH_SEAL_KEY', [`1:${SEAL_KEY},2:${next}`, `2:${next},1:${SEAL_KEY}`]),
    );
    const generations = await berth.sql(
      `select distinct left(password_sealed, 2) as generation from mqtt_broker_config
       where password_sealed is not null order by 1`,
    );
    expect(generations).toEqual([{ generation: '1$' }, { generation: '2$' }]);
    console.log(`seal key: ${rounds} rounds of ${3 * instances.length} requests`);
  });

  it('the database’s password, which Secrets Manager calls current only after the database has it', async () => {
    const role = `app_${randomBytes(6).toString('hex')}`;
    const owner = new pg.Client({ connectionString: berth.databaseUrl });
    await owner.connect();
    closing.push(async () => {
      await owner.query(`drop owned by ${role}; drop role ${role}`);
      await owner.end();
    });
    await grantToApp(owner, role, () => {});
    const arn = arnOf('database');
    const { hostname, port, pathname } = new URL(berth.databaseUrl);
    let password = `pass/word:@?&#%+ ${hex()}`;
    const secretOf = (password: string) => JSON.stringify({ engine: 'postgres', username: role, password });
    const alter = () => owner.query(`alter role ${role} password ${pg.escapeLiteral(password)}`);
    await alter();
    manager.put(arn, secretOf(password));
    const instances = await start(4, {
      DATABASE_URL: '',
      DATABASE_SECRET_ARN: arn,
      DATABASE_HOST: hostname,
      DATABASE_PORT: port,
      DATABASE_NAME: pathname.slice(1),
      SECRETS_TTL_SECONDS: '60',
    });
    const key = await issue(instances[0] as Instance);
    const work = async (at: Instance) => {
      await register(at, key, newDevice());
    };
    /** Every instance has to log in again: the proxy, the server or an end of a connection's life makes them. */
    const disconnect = () =>
      owner.query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = $1`, [role]);
    const rounds = await underLoad(instances, work, async () => {
      for (let n = 0; n < 3; n++) {
        await sleep(300);
        password = hex();
        manager.put(arn, secretOf(password), 'AWSPENDING');
        await alter();
        await disconnect();
        await sleep(500);
        manager.promote(arn);
        await disconnect();
        await sleep(300);
        await disconnect();
      }
    });
    expect(manager.asked).toContain(`${arn} AWSPENDING`);
    console.log(`database password: ${rounds} registrations through 3 rotations`);
    expect(rounds).toBeGreaterThan(100);
  });
});
