import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';
import { type BareFunction, type PackagedFunction, packageProject, startBare } from '../support/package.ts';
import { arnOf, startSecretsManager } from '../support/secrets-manager.ts';
import { cloneProject } from '../support/stack.ts';
import { startProxy } from '../support/tcp-proxy.ts';

const PEPPER = 'pepper-of-the-package-0123456789-0123456789';
const ADMIN_TOKEN = 'admin-token-of-the-package';
const DOTENV = 'secret-of-the-dotenv-file';
const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
const secrets = {
  BERTH_PEPPER: PEPPER,
  BERTH_SEAL_KEY: Buffer.alloc(32, 7).toString('base64'),
  DATABASE_URL: 'postgres://berth:secret-of-the-database@database.example.com/berth',
};

const clone = cloneProject();
let packaged: PackagedFunction[];
let postgres: OwnPostgres;
let env: Record<string, string>;
let key: string;
const running: BareFunction[] = [];

beforeAll(async () => {
  writeFileSync(path.join(clone.dir, '.env'), `BERTH_PEPPER=${DOTENV}\n`);
  [packaged, postgres] = await Promise.all([packageProject(clone.dir, secrets), startOwnPostgres()]);
  env = {
    BERTH_PEPPER: PEPPER,
    ADMIN_AUTH: 'token',
    ADMIN_TOKEN_HASH: sha256Hex(ADMIN_TOKEN),
    DATABASE_URL: postgres.url,
  };
});
afterAll(async () => {
  await Promise.all(running.map((one) => one.stop()));
  await postgres.remove();
  clone.remove();
});

async function start(name: string, more: Record<string, string> = {}): Promise<BareFunction> {
  const found = packaged.find((one) => one.name === name) as PackagedFunction;
  const bare = await startBare(found, { ...env, ...more });
  running.push(bare);
  return bare;
}

const device = (uuid: string) => ({ uuid, deviceName: 'Pump 7', deviceType: 'pump', deviceApiKey: `key-of-${uuid}` });
const registerAt = (bare: BareFunction, uuid: string) =>
  bare.call('POST /api/v1/device/register', { headers: { authorization: `Bearer ${key}` }, body: device(uuid) });

describe('the zips contain', () => {
  it('one for every function: its bundle with chunks and source maps, RDS’ roots of the region; migrations for migrate', () => {
    expect(packaged.map(({ name }) => name).sort()).toEqual(functionNames());
    const migrations = readdirSync(path.join(clone.dir, 'migrations')).filter((name) => /^\d.*\.sql$/.test(name));
    for (const { name, module, files } of packaged) {
      const more = name === 'migrate' ? migrations.map((file) => `migrations/${file}`) : [];
      const roots = 'certificates/rds/eu-central-1.pem';
      const code = [module, ...chunksOf(module, files)].flatMap((file) => [file, `${file}.map`]);
      expect(Object.keys(files).sort(), name).toEqual([roots, ...code, ...more].sort());
    }
  });

  it('the chunks that the function imports, and no others', () => {
    for (const { name, module, files } of packaged) {
      const chunks = chunksOf(module, files);
      const imported = [module, ...chunks].flatMap((file) => {
        const text = Buffer.from(files[file] ?? []).toString();
        return [...text.matchAll(/(?:from|import)\s*\(?"\.\/([^"]+)"/g)].map(([, chunk]) => `functions/${chunk}`);
      });
      expect([...new Set(imported)].sort(), name).toEqual(chunks);
    }
  });

  it('no development dependency, no test, and no file of the local stack', () => {
    const { devDependencies } = JSON.parse(readFileSync(path.join(clone.dir, 'package.json'), 'utf8'));
    for (const { name, module, files } of packaged) {
      const sources = [module, ...chunksOf(module, files)].flatMap((file) => mapOf(files, file).sources);
      expect(sources.length, name).toBeGreaterThan(20);
      for (const source of sources) {
        const dependency = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1];
        // `ws` is a dependency of `mqtt`, too.
        if (dependency !== 'ws') expect(Object.keys(devDependencies), source).not.toContain(dependency);
        if (!dependency) expect(source).toMatch(/(^|\/)(functions|lib)\/[^/]+/);
      }
    }
  });

  it('no secret of the environment or of a .env file, and source maps without sources', () => {
    const forbidden = [...Object.values(secrets), DOTENV, 'secret-of-the-database'];
    for (const { name, module, files } of packaged) {
      for (const [file, content] of Object.entries(files)) {
        const text = Buffer.from(content).toString('latin1');
        for (const secret of forbidden) expect(text.includes(secret), `${secret} in ${name}: ${file}`).toBe(false);
      }
      for (const file of [module, ...chunksOf(module, files)]) {
        expect(mapOf(files, file).sourcesContent ?? []).toEqual([]);
      }
    }
  });
});

it('every function works without node_modules, from creating a broker to moving a device', async () => {
  const all = Object.fromEntries(await Promise.all(packaged.map(async ({ name }) => [name, await start(name)])));
  const at = (name: string) => all[name] as BareFunction;
  for (const { name, exportName } of packaged) expect(at(name).exports, name).toContain(exportName);

  const broker = { name: 'one', host: 'mqtt.example.com', port: 8883, protocol: 'mqtts', is_default: true };
  expect(await at('brokers').call('POST /api/v1/mqtt/brokers', { headers: admin, body: broker })).toMatchObject({
    status: 201,
  });
  const issued = await at('provisioning-keys').call('POST /api/v1/provisioning-keys', {
    headers: admin,
    body: { fleetId: 'packaged', maxDevices: 1000 },
  });
  expect(issued.status).toBe(201);
  key = issued.body.key;

  const registered = await registerAt(at('register'), 'packaged-1');
  expect(registered).toMatchObject({ status: 200, body: { mqtt: { broker: 'mqtts://mqtt.example.com:8883' } } });
  expect((await registerAt(at('register'), 'packaged-1')).text).toBe(registered.text);
  const ownKey = { authorization: `Bearer ${device('packaged-1').deviceApiKey}` };
  const exchange = { headers: ownKey, body: { deviceApiKey: device('packaged-1').deviceApiKey } };
  expect(await at('key-exchange').call('POST /api/v1/device/packaged-1/key-exchange', exchange)).toMatchObject({
    status: 200,
  });
  const mqtt = await at('device-mqtt').call('GET /api/v1/device/packaged-1/mqtt', { headers: ownKey });
  expect(mqtt.body).toEqual(registered.body.mqtt);

  const moved = await at('bulk-assign').call('POST /api/v1/devices/bulk-assign', {
    headers: admin,
    body: { all: true, target: { mqtt_broker_id: 'default' } },
  });
  expect(moved).toMatchObject({ status: 200, body: { state: 'finished', moved: 1 } });
  for (const name of ['bulk-assign-worker', 'bulk-assign-unassigned']) {
    expect(await at(name).invoke({ time: '2026-01-01T00:00:00Z' })).toBeNull();
  }
  const renamed = await at('update-device').call('PUT /api/v1/devices/packaged-1', {
    headers: admin,
    body: { device_name: 'Pump 8' },
  });
  expect(renamed.body.device).toMatchObject({ device_name: 'Pump 8', mqtt_broker_id: 1 });
  const listed = await at('devices').call('GET /api/v1/devices', { headers: admin });
  expect(listed.body.devices).toMatchObject([{ uuid: 'packaged-1', device_name: 'Pump 8' }]);
});

it('loads its chunks: bcryptjs for a broker that is set up for bcrypt, jose for an access token', async () => {
  const withBcrypt = await start('register', { MQTT_PASSWORD_HASH: 'bcrypt' });
  expect(await registerAt(withBcrypt, 'bcrypt-1')).toMatchObject({ status: 200 });
  const withJwt = await start('devices', {
    ADMIN_AUTH: 'jwt',
    ADMIN_JWT_ISSUER: 'https://login.example.com/',
    ADMIN_JWT_AUDIENCE: 'berth',
  });
  const listed = await withJwt.call('GET /api/v1/devices', { headers: { authorization: 'Bearer not.a.jwt' } });
  expect(listed).toMatchObject({ status: 401, body: { code: 'invalid-admin-credential' } });
});

it('a missing setting is an internal error to the caller', async () => {
  const bare = await start('register', { BERTH_PEPPER: '' });
  expect(await registerAt(bare, 'unconfigured')).toMatchObject({ status: 500, body: { code: 'internal' } });
});

it('reads its secrets with Lambda’s own SDK', async () => {
  const manager = await startSecretsManager();
  manager.put(arnOf('pepper'), PEPPER);
  const found = packaged.find(({ name }) => name === 'register') as PackagedFunction;
  const named = { ...env, ...manager.env, BERTH_PEPPER: '', BERTH_PEPPER_ARN: arnOf('pepper') };
  const without = await startBare(found, named);
  expect(await registerAt(without, 'secrets-1')).toMatchObject({ status: 503, body: { code: 'settings-unavailable' } });
  const bare = await startBare(found, named, path.join(clone.dir, 'node_modules'));
  running.push(without, bare);
  expect(await registerAt(bare, 'secrets-1')).toMatchObject({ status: 200 });
  expect(manager.asked).toEqual([`${arnOf('pepper')} AWSCURRENT`]);
  await manager.close();
});

it('finds the RDS certificates of its region in its package', async () => {
  for (const [region, status] of [
    ['eu-central-1', 503],
    ['eu-west-1', 500],
  ] as const) {
    const url = `postgres://user:password@no-such-database.abc123.${region}.rds.amazonaws.com/berth`;
    expect(await registerAt(await start('register', { DATABASE_URL: url }), 'rds-1'), region).toMatchObject({ status });
  }
});

/** Lambda freezes a process between two requests. Meanwhile its connection dies. */
describe('a thawed function answers the next request', () => {
  it('when the server has closed its connection', async () => {
    const bare = await start('register', { DATABASE_URL: `${postgres.url}?idle_session_timeout=1000` });
    expect((await registerAt(bare, 'thawed-1')).status).toBe(200);
    await freeze(bare, 2_500);
    await expectWorks(bare, 'thawed-1', 2_000);
  });

  it('when its connection was terminated', async () => {
    const bare = await start('register', { DATABASE_URL: `${postgres.url}?application_name=thawed-2` });
    expect((await registerAt(bare, 'thawed-2')).status).toBe(200);
    await freeze(bare, 500, async () => {
      const killed = await postgres.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'thawed-2%'`,
      );
      expect(killed).toHaveLength(1);
    });
    await expectWorks(bare, 'thawed-2', 2_000);
  });

  it('when its connection is half open: after more than 30 s it pings first', async () => {
    const proxy = await startProxy(postgres.port);
    const url = new URL(postgres.url);
    url.port = String(proxy.port);
    const bare = await start('register', { DATABASE_URL: url.href });
    expect((await registerAt(bare, 'thawed-3')).status).toBe(200);
    await freeze(bare, 31_000, () => proxy.set('half-open'));
    await expectWorks(bare, 'thawed-3', 4_000);
    await proxy.close();
  });
});

async function freeze({ child }: BareFunction, ms: number, meanwhile: () => Promise<unknown> = async () => {}) {
  child.kill('SIGSTOP');
  await meanwhile();
  await sleep(ms);
  child.kill('SIGCONT');
}

/** A repeated registration and a new one, both answered within the time. */
async function expectWorks(bare: BareFunction, uuid: string, withinMs: number) {
  const started = Date.now();
  expect(await registerAt(bare, uuid)).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } });
  expect(await registerAt(bare, `${uuid}-more`)).toMatchObject({ status: 200 });
  expect(Date.now() - started).toBeLessThan(withinMs);
}

function functionNames(): string[] {
  const text = readFileSync(path.join(clone.dir, 'serverless.yml'), 'utf8');
  return [...(text.split(/^functions:$/m)[1] ?? '').matchAll(/^ {2}([a-z-]+):$/gm)]
    .map(([, name]) => name as string)
    .sort();
}

/** The chunks of a function's module in its zip. */
function chunksOf(module: string, files: Record<string, Uint8Array>): string[] {
  const { dir, name } = path.parse(module);
  return Object.keys(files)
    .filter((file) => file.startsWith(`${dir}/${name}.`) && /-[A-Z0-9]{8}\.mjs$/.test(file))
    .sort();
}

function mapOf(files: Record<string, Uint8Array>, module: string): { sources: string[]; sourcesContent?: string[] } {
  return JSON.parse(Buffer.from(files[`${module}.map`] ?? []).toString());
}
