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
import { bundleFunction } from '../tests/support/bundle.ts';
import type { Instance } from './instances.ts';
import { type Part, progress } from './part.ts';
import { asAdmin, type BenchDevice, type BenchKey, type Call, eventOf, newDevice } from './requests.ts';
import { type Checkout, deployedEnv, ROOT, startServer } from './server.ts';
import { median, short, table } from './table.ts';

const COLD_CALL = fileURLToPath(new URL('cold-call.mjs', import.meta.url));
const SECONDS_EACH = 0.3;
const BROKER_SECRET = 'broker-secret-of-the-bench';
const EMPTY = 'an empty handler';
/** They are started without a request, and do nothing when there is nothing to do. */
const SCHEDULED = ['bulk-assign-worker', 'bulk-assign-unassigned'];

/**
 * A function as it is deployed: its module in `dir`, the export that Lambda calls, and the size of what is loaded at
 * start.
 */
type Bundle = { name: string; dir: string; module: string; exportName: string; bytes: number; zippedBytes: number };
type Times = { importMs: number; firstMs: number; secondMs: number };
/** A checkout with its bundles, and a registered device. */
type Side = { checkout: Checkout; key: BenchKey; device: BenchDevice; bundles: Bundle[]; times: Map<Bundle, Times[]> };
export type ColdStartFigures = { functions: ReturnType<typeof summary>[] };

/**
 * Every function of serverless.yml, bundled as for Lambda, in fresh processes: the time to import it, and the time of its
 * first call with the connection to the database. Node's own start is left out: Lambda's runtime has done that before.
 */
export const run: Part = async ({ quick, against }) => {
  const rounds = quick ? 1 : 15;
  const dir = mkdtempSync(path.join(tmpdir(), 'berth-cold-'));
  const server = await startServer();
  try {
    const sides: Side[] = [];
    for (const root of against ? [ROOT, path.resolve(against)] : [ROOT]) {
      sides.push(await prepare(await server.checkout(root), path.join(dir, String(sides.length))));
    }
    const starts = sides.flatMap((side) => side.bundles.map((bundle) => ({ side, bundle })));
    // Both sides of a function directly one after the other.
    starts.sort((a, b) => a.side.bundles.indexOf(a.bundle) - b.side.bundles.indexOf(b.bundle));
    const tell = progress('cold-start', rounds * starts.length * SECONDS_EACH);
    for (let round = 1; round <= rounds; round++) {
      tell(`round ${round} of ${rounds}`, starts.length * SECONDS_EACH);
      for (const { side, bundle } of starts) side.times.get(bundle)?.push(await startCold(side, bundle));
    }
    const [functions, theirs] = sides.map(({ times }) => [...times].map(([bundle, all]) => summary(bundle, all)));
    print(functions ?? []);
    if (!theirs) return { rounds, functions };
    console.log(`${against}:`);
    print(theirs);
    return { rounds, functions, against: theirs };
  } finally {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
};

async function prepare(checkout: Checkout, dir: string): Promise<Side> {
  const [key] = (await checkout.issueKeys(1)) as [BenchKey];
  const device = newDevice();
  const [instance] = (await checkout.instances(1)) as [Instance];
  await instance.ask('registerOnce', { key, device });
  await instance.stop();
  const bundles = await bundleAll(checkout.root, dir);
  return { checkout, key, device, bundles, times: new Map(bundles.map((bundle) => [bundle, []])) };
}

/** Bundles every function as serverless-esbuild does, with the source maps beside the modules. */
async function bundleAll(root: string, dir: string): Promise<Bundle[]> {
  const { functions } = parse(readFileSync(path.join(root, 'serverless.yml'), 'utf8'));
  const bundles: Bundle[] = [];
  for (const [name, { handler }] of Object.entries<{ handler: string }>(functions)) {
    const [file = '', exportName = ''] = handler.split('.');
    const { start } = await bundleFunction(path.basename(file), dir, root);
    const code = start.map(({ text }) => text).join('');
    const zippedBytes = deflateRawSync(code, { level: 9 }).length;
    bundles.push({ name, dir, module: `${file}.mjs`, exportName, bytes: Buffer.byteLength(code), zippedBytes });
  }
  writeFileSync(path.join(dir, 'empty.mjs'), 'export const handler = async () => ({ statusCode: 200 });\n');
  return [{ name: EMPTY, dir, module: 'empty.mjs', exportName: 'handler', bytes: 57, zippedBytes: 57 }, ...bundles];
}

/** The event that a function is called with first. A function without one is only imported. */
function firstEvent(name: string, { key, device }: Side): object | undefined {
  const asDevice = { authorization: `Bearer ${device.deviceApiKey}` };
  const asBroker = { authorization: `Bearer ${BROKER_SECRET}`, 'content-type': 'application/json' };
  const params = { uuid: device.uuid };
  const calls: Record<string, Omit<Call, 'name'>> = {
    register: { headers: { 'x-provisioning-key': key.key }, body: newDevice() },
    'key-exchange': { headers: asDevice, params, body: device },
    'device-mqtt': { headers: asDevice, params },
    'update-device': {
      route: 'PUT /api/v1/devices/{uuid}',
      headers: asAdmin,
      params,
      body: { device_name: randomUUID() },
    },
    'operator-reads': { route: 'GET /api/v1/devices', headers: asAdmin },
    devices: { route: 'POST /api/v1/devices/{uuid}/rotate-credentials', headers: asAdmin, params },
    'provisioning-keys': {
      route: 'PUT /api/v1/provisioning-keys/{id}',
      headers: asAdmin,
      params: { id: key.id },
      body: { description: randomUUID() },
    },
    brokers: {
      route: 'PUT /api/v1/mqtt/brokers/{id}',
      headers: asAdmin,
      params: { id: '1' },
      body: { description: randomUUID() },
    },
    'mqtt-auth': {
      route: 'POST /api/v1/mqtt/auth/user',
      headers: asBroker,
      body: { username: `device_${device.uuid}`, password: 'wrong' },
    },
    'bulk-assign': {
      route: 'POST /api/v1/devices/bulk-assign',
      headers: asAdmin,
      body: { filter: { fleet_id: 'fleet-0' }, target: { mqtt_broker_id: null }, dry_run: true },
    },
  };
  if (calls[name]) return eventOf({ name, ...calls[name] });
  return SCHEDULED.includes(name) || name === EMPTY ? { time: new Date().toISOString() } : undefined;
}

async function startCold(side: Side, { name, dir, module, exportName }: Bundle): Promise<Times> {
  const child = spawn(process.execPath, [COLD_CALL, module, exportName], {
    cwd: dir,
    env: {
      PATH: process.env.PATH,
      ...deployedEnv(side.checkout.url),
      NODE_OPTIONS: '--enable-source-maps',
      BERTH_SEAL_KEY: Buffer.alloc(32, 7).toString('base64'),
      BROKER_AUTH_SECRET_HASH: sha256Hex(BROKER_SECRET),
    },
    // Its log is discarded. It answers on a pipe of its own.
    stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
  });
  child.stdin?.end(JSON.stringify(firstEvent(name, side) ?? null));
  const [answer] = await Promise.all([text(child.stdio[3] as never), once(child, 'exit')]);
  const { error, ...times } = JSON.parse(answer || '{"error":"it ended without an answer"}');
  if (error) throw new Error(`${name}: ${error}`);
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
