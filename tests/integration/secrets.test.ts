import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { grantToApp } from '../../lib/database/app-role.ts';
import { scheduled } from '../../lib/http/scheduled.ts';
import { settings } from '../../lib/settings/settings.ts';
import { type Call, lambdaContext } from '../support/api.ts';
import { bearer, issueKey, newDevice, registration, setEnv, useBerth } from '../support/berth.ts';
import { type Instance, startInstances, stopInstances, type TimedAnswer } from '../support/instances.ts';
import { PASSWORD, startMqttServer, USERNAME } from '../support/mqtt-servers.ts';
import { arnOf, type SecretsManager, startSecretsManager } from '../support/secrets-manager.ts';

const TTL_MS = 1_000;
/** By then every instance has refreshed its secrets and finished the requests with the old value. */
const SETTLED_MS = TTL_MS + 700;
const hex = () => randomBytes(32).toString('hex');
const NAMES = ['BERTH_PEPPER', 'BERTH_SEAL_KEY', 'ADMIN_TOKEN_HASH', 'BROKER_AUTH_SECRET_HASH'];
const PEPPER = hex();
const SEAL_KEY = hex();

const berth = useBerth();
let manager: SecretsManager;
let adminToken: string;
let brokerSecret: string;

beforeEach(async () => {
  setEnv({});
  manager = await startSecretsManager();
  onTestFinished(() => manager.close());
  adminToken = hex();
  brokerSecret = hex();
  manager.put(arnOf('BERTH_PEPPER'), PEPPER);
  manager.put(arnOf('BERTH_SEAL_KEY'), SEAL_KEY);
  manager.put(arnOf('ADMIN_TOKEN_HASH'), sha256Hex(adminToken));
  manager.put(arnOf('BROKER_AUTH_SECRET_HASH'), sha256Hex(brokerSecret));
});

/** Starts instances whose environment contains the ARNs of the secrets, not the secrets. */
async function start(count: number, env: Record<string, string> = {}): Promise<Instance[]> {
  const arns = NAMES.flatMap((name) => [[name, ''] as const, [`${name}_ARN`, arnOf(name)] as const]);
  const instances = await startInstances(count, {
    ...manager.env,
    ...Object.fromEntries(arns),
    SECRETS_TTL_SECONDS: String(TTL_MS / 1_000),
    BERTH_STAGE: 'local',
    ...env,
  });
  onTestFinished(() => stopInstances(instances));
  return instances;
}

/** Makes a call and expects this status. */
async function expectCall(
  instance: Instance,
  status: number,
  target: string,
  options: Call = {},
): Promise<TimedAnswer> {
  const answer = await instance.call(target, options);
  expect(answer.status, `${target}: ${answer.text}`).toBe(status);
  return answer;
}

const issue = async ({ call: make }: Instance): Promise<string> =>
  (await issueKey({ maxDevices: 10_000 }, { make, token: adminToken })).key;
const register = (instance: Instance, key: string, device: object, status = 200, options: Call = {}) => {
  const { target, options: all } = registration(key, device, options);
  return expectCall(instance, status, target, all);
};

describe('settings in Secrets Manager', () => {
  it('are read once per secret, not once per request', async () => {
    const [instance] = (await start(1, { SECRETS_TTL_SECONDS: '60' })) as [Instance];
    const key = await issue(instance);
    for (let n = 0; n < 20; n++) await register(instance, key, newDevice());
    expect(manager.requests.sort()).toEqual(NAMES.map((name) => `${arnOf(name)} AWSCURRENT`).sort());
  });

  it('are not read when no ARN is set', async () => {
    const none = Object.fromEntries(NAMES.map((name) => [`${name}_ARN`, '']));
    const [instance] = (await start(1, { ...none, BERTH_PEPPER: PEPPER })) as [Instance];
    await register(instance, 'prov_x', newDevice(), 401);
    expect(manager.requests).toEqual([]);
  });

  it.each(['fails', 'denies', 'hangs', 'refuses'] as const)(
    '200 within 3 s with the last known values: Secrets Manager %s, and is not asked by each request',
    async (mode) => {
      const [instance] = (await start(1)) as [Instance];
      const key = await issue(instance);
      await manager.set(mode);
      await sleep(TTL_MS);
      const before = manager.requests.length;
      const { ms } = await register(instance, key, newDevice());
      expect(ms).toBeLessThan(3_000);
      const after = manager.requests.length;
      if (mode !== 'refuses') expect(after).toBeGreaterThan(before);
      for (let n = 0; n < 5; n++) await register(instance, key, newDevice());
      expect(manager.requests.length).toBe(after);
      await manager.set('answers');
    },
  );

  it.each(['fails', 'denies', 'hangs', 'refuses'] as const)(
    '503 settings-unavailable with Retry-After: never read, because Secrets Manager %s; 200 once it answers',
    async (mode) => {
      const [instance] = (await start(1)) as [Instance];
      await manager.set(mode);
      const { ms, headers, body } = await register(instance, 'prov_x', newDevice(), 503, { remainingMs: 4_000 });
      expect(body.code).toBe('settings-unavailable');
      expect(Number(headers['retry-after'])).toBeGreaterThanOrEqual(1);
      expect(ms).toBeLessThan(3_500);
      await manager.set('answers');
      await register(instance, await issue(instance), newDevice());
    },
  );

  it('200 with the previous value: the new value of a secret is invalid; the next valid value is used', async () => {
    const [instance] = (await start(1)) as [Instance];
    const key = await issue(instance);
    // The empty one is last: after a failed read, an instance waits 10 s before the next one.
    for (const [value, generation] of [
      ['short', '1'],
      [`1:${PEPPER},1:${hex()}`, '1'],
      [`2:${hex()},1:${PEPPER}`, '2'],
      ['', '2'],
    ] as const) {
      const reads = manager.requests.length;
      manager.put(arnOf('BERTH_PEPPER'), value);
      await sleep(SETTLED_MS);
      const { body } = await register(instance, key, newDevice());
      expect(manager.requests.slice(reads)).toContain(`${arnOf('BERTH_PEPPER')} AWSCURRENT`);
      const [device] = await berth.sql('select mqtt_password_salt as salt from devices where uuid = $1', [body.uuid]);
      expect(device?.salt).toMatch(new RegExp(`^${generation}\\$`));
    }
  });

  it('are available in scheduled runs', async () => {
    Object.assign(process.env, manager.env, { BERTH_SEAL_KEY_ARN: arnOf('scheduled') });
    onTestFinished(async () => {
      for (const name of [...Object.keys(manager.env), 'BERTH_SEAL_KEY_ARN']) delete process.env[name];
    });
    manager.put(arnOf('scheduled'), SEAL_KEY);
    let seen: unknown;
    const run = scheduled(async () => {
      seen = settings().sealKeys;
    });
    await run({ time: '2026-01-01T00:00:00Z' }, lambdaContext(70_000));
    expect(seen).toEqual([{ generation: '1', key: Buffer.from(SEAL_KEY, 'hex') }]);
  });

  it('500 internal: the first value of a secret is invalid; the reply does not contain it', async () => {
    manager.put(arnOf('BERTH_PEPPER'), 'too-short');
    const [instance] = (await start(1)) as [Instance];
    const { body, text } = await register(instance, 'prov_x', newDevice(), 500);
    expect(body.code).toBe('internal');
    expect(text).not.toMatch(/too-short|BERTH_PEPPER/);
  });
});

describe('rotation under load, without a failed request:', () => {
  /** Repeats `work` concurrently on all instances until `change` has finished. @returns the number of repetitions */
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

  /** Writes a secret's values one after the other, and waits in between like an operator. */
  async function rotate(name: string, values: string[]) {
    await sleep(500);
    for (const value of values) {
      manager.put(arnOf(name), value);
      await sleep(SETTLED_MS);
    }
  }

  it('pepper', async () => {
    const instances = await start(4);
    const key = await issue(instances[0] as Instance);
    const old = newDevice();
    const oldReply = (await register(instances[0] as Instance, key, old)).text;
    const work = async (at: Instance, next: Instance) => {
      const device = newDevice();
      const { text, body } = await register(at, key, device);
      // Immediately after, at an instance that may have read another generation.
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

  it('admin token', async () => {
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

  it('broker auth secret', async () => {
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

  it('seal key', async () => {
    const broker = await startMqttServer({ protocol: 'mqtt' });
    onTestFinished(() => broker.close());
    const instances = await start(3);
    const path = '/api/v1/mqtt/brokers';
    const headers = bearer(adminToken);
    const settings = { host: 'localhost', port: broker.port, username: USERNAME, password: PASSWORD };
    const create = async (at: Instance) =>
      (await expectCall(at, 201, `POST ${path}`, { headers, body: { name: randomUUID(), ...settings } })).body.data.id;
    const old = await create(instances[0] as Instance);
    // One broker test at a time. `at` seals the password, `other` unseals it.
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

  it('database password, current in Secrets Manager only after the database was changed', async () => {
    const role = `app_${randomBytes(6).toString('hex')}`;
    const owner = new pg.Client({ connectionString: berth.databaseUrl });
    await owner.connect();
    onTestFinished(async () => {
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
    /** Forces each instance to log in again, as a proxy, a restart or `max_lifetime` does. */
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
    expect(manager.requests).toContain(`${arn} AWSPENDING`);
    console.log(`database password: ${rounds} registrations through 3 rotations`);
    expect(rounds).toBeGreaterThan(100);
  });
});
