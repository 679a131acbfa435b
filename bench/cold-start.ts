import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';
import { parse } from 'yaml';
import { sha256Hex } from '../lib/crypto/hash.ts';
import { type Call, eventFor } from '../tests/support/api.ts';
import { bundleFunction } from '../tests/support/bundle.ts';
import { addBrokerAndKeys, type BenchDatabase, benchDatabase, deployedEnv } from './database.ts';
import { startInstances } from './instances.ts';
import { progress } from './progress.ts';
import { type BenchDevice, type BenchKey, newDevice } from './requests.ts';
import type { Part } from './run.ts';
import { median, short, table } from './table.ts';

const ROOT = new URL('../', import.meta.url);
const SECONDS_EACH = 0.3;
const ADMIN_TOKEN = 'admin-token-of-the-bench';
const BROKER_SECRET = 'broker-secret-of-the-bench';
const EMPTY = 'an empty handler';

/**
 * A function as it is deployed: its module in the directory, the export that Lambda calls, and the size of what is loaded
 * at start.
 */
type Bundle = { name: string; module: string; exportName: string; bytes: number; zippedBytes: number };
type Times = { importMs: number; firstMs: number; secondMs: number };
export type ColdStartFigures = { functions: ReturnType<typeof summary>[] };
type Fixture = { key: BenchKey; device: BenchDevice };

/**
 * Every function of serverless.yml, bundled as for Lambda, in fresh processes: what importing it takes and its first
 * call, with the connection to the database. Node's own start is left out: the runtime has that done.
 */
export const run: Part = async ({ quick }) => {
  const rounds = quick ? 1 : 15;
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-cold-'));
  const database = await benchDatabase();
  try {
    const bundles = await bundleAll(dir);
    const fixture = await prepare(database);
    const tell = progress('cold-start', rounds * bundles.length * SECONDS_EACH);
    const times = new Map<string, Times[]>(bundles.map(({ name }) => [name, []]));
    for (let round = 1; round <= rounds; round++) {
      tell(`round ${round} of ${rounds}`, bundles.length * SECONDS_EACH);
      for (const bundle of bundles) times.get(bundle.name)?.push(await startCold(dir, bundle, database, fixture));
    }
    const functions = bundles.map((bundle) => summary(bundle, times.get(bundle.name) ?? []));
    print(functions);
    return { rounds, functions };
  } finally {
    await database.stop();
    rmSync(dir, { recursive: true, force: true });
  }
};

/** Bundles every function as serverless-esbuild does, with the source maps beside the modules. */
async function bundleAll(dir: string): Promise<Bundle[]> {
  const { functions } = parse(readFileSync(new URL('serverless.yml', ROOT), 'utf8'));
  writeFileSync(path.join(dir, 'empty.mjs'), 'export const handler = async () => ({ statusCode: 200 });\n');
  const bundles: Bundle[] = [{ name: EMPTY, module: 'empty.mjs', exportName: 'handler', bytes: 57, zippedBytes: 57 }];
  for (const [name, { handler }] of Object.entries<{ handler: string }>(functions)) {
    const [file = '', exportName = ''] = handler.split('.');
    const { start } = await bundleFunction(path.basename(file), dir);
    const code = start.map(({ text }) => text).join('');
    const zippedBytes = deflateRawSync(code, { level: 9 }).length;
    bundles.push({ name, module: `${file}.mjs`, exportName, bytes: Buffer.byteLength(code), zippedBytes });
  }
  return bundles;
}

async function prepare(database: BenchDatabase): Promise<Fixture> {
  const [key] = (await addBrokerAndKeys(database, 1)) as [BenchKey];
  const device = newDevice();
  const [instance] = await startInstances(1, deployedEnv(database.url));
  await instance?.ask({ kind: 'registerOnce', key, device });
  await instance?.stop();
  return { key, device };
}

/** What each function is called with first. One that isn't here is only imported. */
async function eventOf(name: string, { key, device }: Fixture): Promise<unknown> {
  const own = { authorization: `Bearer ${device.deviceApiKey}` };
  const admin = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const calls: Record<string, [string, Call]> = {
    register: ['POST /api/v1/device/register', { headers: { 'x-provisioning-key': key.key }, body: newDevice() }],
    'key-exchange': [`POST /api/v1/device/${device.uuid}/key-exchange`, { headers: own, body: device }],
    'device-mqtt': [`GET /api/v1/device/${device.uuid}/mqtt`, { headers: own }],
    'update-device': [`PUT /api/v1/devices/${device.uuid}`, { headers: admin, body: { device_name: randomUUID() } }],
    devices: ['GET /api/v1/devices', { headers: admin }],
    'provisioning-keys': ['GET /api/v1/provisioning-keys', { headers: admin, query: { fleetId: 'fleet-0' } }],
    brokers: ['GET /api/v1/mqtt/brokers', { headers: admin }],
    'mqtt-auth': [
      'POST /api/v1/mqtt/auth/user',
      {
        headers: { authorization: `Bearer ${BROKER_SECRET}`, 'content-type': 'application/json' },
        body: { username: `device_${device.uuid}`, password: 'wrong' },
      },
    ],
    'bulk-assign': ['GET /api/v1/devices/bulk-assign', { headers: admin }],
  };
  const found = calls[name];
  if (found) return (await eventFor(...found)).event;
  return name.startsWith('bulk-assign-') || name === EMPTY ? { time: new Date().toISOString() } : undefined;
}

async function startCold(dir: string, bundle: Bundle, database: BenchDatabase, fixture: Fixture): Promise<Times> {
  const event = await eventOf(bundle.name, fixture);
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('cold-call.mjs', import.meta.url)), bundle.module, bundle.exportName],
    {
      cwd: dir,
      env: {
        PATH: process.env.PATH,
        ...deployedEnv(database.url),
        NODE_OPTIONS: '--enable-source-maps',
        BERTH_SEAL_KEY: Buffer.alloc(32, 7).toString('base64'),
        ADMIN_AUTH: 'token',
        ADMIN_TOKEN_HASH: sha256Hex(ADMIN_TOKEN),
        BROKER_AUTH_SECRET_HASH: sha256Hex(BROKER_SECRET),
      },
      // What it logs goes nowhere; it answers on a pipe of its own.
      stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
    },
  );
  child.stdin?.end(JSON.stringify(event ?? null));
  const [answer] = await Promise.all([text(child.stdio[3] as never), once(child, 'exit')]);
  const { error, ...times } = JSON.parse(answer || '{"error":"it ended without an answer"}');
  if (error) throw new Error(`${bundle.name}: ${error}`);
  return times;
}

function summary({ name, bytes, zippedBytes }: Bundle, times: Times[]) {
  const middle = (figure: keyof Times) => {
    const all = times.map((one) => one[figure]).filter((ms) => ms !== undefined);
    return all.length > 0 ? short(median(all)) : undefined;
  };
  return {
    name,
    bytes,
    kb: short(bytes / 1024),
    zippedKb: short(zippedBytes / 1024),
    importMs: middle('importMs') ?? 0,
    firstMs: middle('firstMs'),
    secondMs: middle('secondMs'),
  };
}

function print(functions: ColdStartFigures['functions']): void {
  const head = ['function', 'KB', 'zipped', 'import ms', 'first call ms', 'second ms'];
  const rows = functions.map((one) => [one.name, one.kb, one.zippedKb, one.importMs, one.firstMs, one.secondMs]);
  console.log(`\n${table(head, rows)}\n`);
}
