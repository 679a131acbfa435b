import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { bearer, register } from '../support/berth.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';
import {
  type BareFunction,
  type PackagedFunction,
  packageProject,
  serverlessPackage,
  startBare,
} from '../support/package.ts';
import { arnOf, startSecretsManager } from '../support/secrets-manager.ts';
import { cloneProject } from '../support/stack.ts';
import { startProxy } from '../support/tcp-proxy.ts';

const PEPPER = 'pepper-of-the-package-0123456789-0123456789';
const ADMIN_TOKEN = 'admin-token-of-the-package';
const DOTENV = 'secret-of-the-dotenv-file';
const admin = bearer(ADMIN_TOKEN);
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
const registerAt = (bare: BareFunction, uuid: string) => register(key, device(uuid), {}, bare.call);

describe('nothing is packaged when a parameter', () => {
  it.each([
    ['is misspelt', 'autoAssinBroker=true', /There is no parameter autoAssinBroker/],
    ['is no setting', 'autoAssignBroker=yes', /Parameter autoAssignBroker is "yes": it must be true or false/],
    ['is a bad URL', 'mqttBrokerUrl=foo', /Parameter mqttBrokerUrl: MQTT_BROKER_URL must look like/],
    ['is too low', 'eventRetentionDays=5', /Parameter eventRetentionDays: .* at least 90/],
    ['needs a way out', 'adminAuth=jwt outbound=false', /adminAuth=jwt needs outbound=true/],
  ])('%s: %s', async (_what, parameters, message) => {
    const given = parameters.split(' ').flatMap((parameter) => ['--param', parameter]);
    await expect(serverlessPackage(clone.dir, {}, given)).rejects.toThrow(message);
  });
});

describe('each zip contains', () => {
  it('exactly its bundle with chunks and source maps, the RDS roots of the region and, for migrate and panel, the migrations and the built panel; one zip per function', () => {
    const { functions } = parse(readFileSync(path.join(clone.dir, 'serverless.yml'), 'utf8'));
    expect(packaged.map(({ name }) => name).sort()).toEqual(Object.keys(functions).sort());
    const migrations = readdirSync(path.join(clone.dir, 'migrations')).filter((name) => /^\d.*\.sql$/.test(name));
    const manifest = JSON.parse(readFileSync(path.join(clone.dir, 'panel/dist/manifest.json'), 'utf8'));
    const built = [manifest.index, ...manifest.assets].map((file) => `panel/dist${file.path}`);
    const compressed = built.flatMap((file) => [file, `${file}.br`, `${file}.gz`]);
    const ofFunction: Record<string, string[]> = {
      migrate: migrations.map((file) => `migrations/${file}`),
      panel: ['docs/openapi.json', 'panel/dist/manifest.json', ...compressed],
    };
    for (const { name, module, files } of packaged) {
      const more = ofFunction[name] ?? [];
      const roots = 'certificates/rds/eu-central-1.pem';
      const code = [module, ...chunksOf(module, files)].flatMap((file) => [file, `${file}.map`]);
      expect(Object.keys(files).sort(), name).toEqual([roots, ...code, ...more].sort());
    }
  });

  it('exactly the chunks that the function imports', () => {
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
        // `ws` is also a dependency of `mqtt`.
        if (dependency !== 'ws') expect(Object.keys(devDependencies), source).not.toContain(dependency);
        if (!dependency) expect(source).toMatch(/(^|\/)(functions|lib)\/[^/]+/);
      }
    }
  });

  it('no secret from the environment or a .env file, and source maps without sources', () => {
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

it('every function works in plain Node without node_modules: create a broker, register, move a device', async () => {
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
  const ownKey = bearer(device('packaged-1').deviceApiKey);
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
  expect(moved).toMatchObject({ status: 200, body: { state: 'finished', moved: 0, already_there: 1 } });
  for (const name of ['bulk-assign-worker', 'bulk-assign-unassigned']) {
    expect(await at(name).invoke({ time: '2026-01-01T00:00:00Z' })).toBeNull();
  }
  const renamed = await at('update-device').call('PUT /api/v1/devices/packaged-1', {
    headers: admin,
    body: { device_name: 'Pump 8' },
  });
  expect(renamed.body.device).toMatchObject({ device_name: 'Pump 8', mqtt_broker_id: 1 });
  const listed = await at('operator-reads').call('GET /api/v1/devices', { headers: admin });
  expect(listed.body.devices).toMatchObject([{ uuid: 'packaged-1', device_name: 'Pump 8' }]);
});

it('the panel’s function serves the built panel from its zip, without a database', async () => {
  const bare = await start('panel', { DATABASE_URL: '', BERTH_PEPPER: '', ADMIN_TOKEN_HASH: '' });
  const page = await bare.call('GET /');
  expect(page).toMatchObject({ status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } });
  expect((await bare.call('GET /devices/test-123')).text).toBe(page.text);
  const [, script = ''] = /<script type="module" src="([^"]+)"/.exec(page.text) ?? [];
  const compressed = await bare.call(`GET ${script}`, { headers: { 'accept-encoding': 'gzip, br' } });
  expect(compressed).toMatchObject({ status: 200, headers: { 'content-encoding': 'br' } });
  const document = await bare.call('GET /api/v1/openapi.json');
  expect(document.body).toEqual(JSON.parse(readFileSync(path.join(clone.dir, 'docs/openapi.json'), 'utf8')));
  expect((await bare.call('GET /panel-settings.json')).body).toEqual({ stage: 'berth', auth: { kind: 'token' } });
});

it('a function loads its chunks: bcryptjs for MQTT_PASSWORD_HASH=bcrypt, jose for ADMIN_AUTH=jwt', async () => {
  const withBcrypt = await start('register', { MQTT_PASSWORD_HASH: 'bcrypt' });
  expect(await registerAt(withBcrypt, 'bcrypt-1')).toMatchObject({ status: 200 });
  const withJwt = await start('operator-reads', {
    ADMIN_AUTH: 'jwt',
    ADMIN_JWT_ISSUER: 'https://login.example.com/',
    ADMIN_JWT_AUDIENCE: 'berth',
  });
  const listed = await withJwt.call('GET /api/v1/devices', { headers: bearer('not.a.jwt') });
  expect(listed).toMatchObject({ status: 401, body: { code: 'invalid-admin-credential' } });
});

it('500 internal: BERTH_PEPPER is not set; the reply does not name it', async () => {
  const bare = await start('register', { BERTH_PEPPER: '' });
  const reply = await registerAt(bare, 'unconfigured');
  expect(reply).toMatchObject({ status: 500, body: { code: 'internal' } });
  expect(reply.text).not.toContain('PEPPER');
});

it('secrets are read with the AWS SDK of the Lambda runtime; 503 settings-unavailable without it', async () => {
  const manager = await startSecretsManager();
  manager.put(arnOf('pepper'), PEPPER);
  const found = packaged.find(({ name }) => name === 'register') as PackagedFunction;
  const named = { ...env, ...manager.env, BERTH_PEPPER: '', BERTH_PEPPER_ARN: arnOf('pepper') };
  const without = await startBare(found, named);
  expect(await registerAt(without, 'secrets-1')).toMatchObject({ status: 503, body: { code: 'settings-unavailable' } });
  const bare = await startBare(found, named, path.join(clone.dir, 'node_modules'));
  running.push(without, bare);
  expect(await registerAt(bare, 'secrets-1')).toMatchObject({ status: 200 });
  expect(manager.requests).toEqual([`${arnOf('pepper')} AWSCURRENT`]);
  await manager.close();
});

it('the RDS roots of the region are found (503: unknown host); those of another region are not (500)', async () => {
  for (const [region, status] of [
    ['eu-central-1', 503],
    ['eu-west-1', 500],
  ] as const) {
    const url = `postgres://user:password@no-such-database.abc123.${region}.rds.amazonaws.com/berth`;
    expect(await registerAt(await start('register', { DATABASE_URL: url }), 'rds-1'), region).toMatchObject({ status });
  }
});

/** Lambda freezes a process between two requests; its database connection can end meanwhile. */
describe('200 for a repetition and a new registration after Lambda resumed the function', () => {
  it('the server closed the idle connection', async () => {
    const url = `${postgres.url}?idle_session_timeout=1000&application_name=thawed-1`;
    const bare = await start('register', { DATABASE_URL: url });
    expect((await registerAt(bare, 'thawed-1')).status).toBe(200);
    await freeze(bare, 500, async () => {
      await sleep(2_000);
      const open = await postgres.sql(`select from pg_stat_activity where application_name like 'thawed-1%'`);
      expect(open).toEqual([]);
    });
    await expectWorks(bare, 'thawed-1', 2_000);
  });

  it('the connection was terminated', async () => {
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

  it('the connection was lost without a notice, more than 30 s ago', async () => {
    const proxy = await startProxy(postgres.port);
    const url = Object.assign(new URL(postgres.url), { port: proxy.port });
    const bare = await start('register', { DATABASE_URL: url.href });
    expect((await registerAt(bare, 'thawed-3')).status).toBe(200);
    await freeze(bare, 31_000, () => proxy.set('half-open'));
    await expectWorks(bare, 'thawed-3', 4_000);
    await proxy.close();
  });
});

/** Stops the process for `ms`, like Lambda between two requests; `meanwhile` runs at the start. */
async function freeze({ child }: BareFunction, ms: number, meanwhile: () => Promise<unknown> = async () => {}) {
  child.kill('SIGSTOP');
  await meanwhile();
  await sleep(ms);
  child.kill('SIGCONT');
}

/** Repeats the registration and registers a new device; both succeed within `withinMs`. */
async function expectWorks(bare: BareFunction, uuid: string, withinMs: number) {
  const started = Date.now();
  expect(await registerAt(bare, uuid)).toMatchObject({ status: 200, headers: { 'idempotent-replayed': 'true' } });
  expect(await registerAt(bare, `${uuid}-more`)).toMatchObject({ status: 200 });
  expect(Date.now() - started).toBeLessThan(withinMs);
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
