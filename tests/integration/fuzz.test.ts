import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { type Answer, call, eventFor } from '../support/api.ts';
import {
  ADMIN_TOKEN,
  addBroker,
  admin,
  type Berth,
  bearer,
  issueKey,
  newDevice,
  register,
  startBerth,
  unknownKey,
} from '../support/berth.ts';
import { type Operation, operations, replyProblem } from '../support/openapi.ts';
import { drawRequest, type KnownValues, type Request, targetOf } from '../support/requests.ts';

const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 20_000);
/** One in so many requests is checked with a hash of all tables before and after it. */
const HASH_EVERY = 50;
/** The interval, in requests, at which the rows that other requests need are created again. */
const REPLENISH_EVERY = 100;
const READ_TOKEN = 'read-only-admin-token';
const BROKER_SECRET = 'secret-of-the-brokers';

let berth: Berth;
let known: KnownValues;
let tables: string[];
/** A provisioning key with unused places. */
let openKey: string;

beforeAll(async () => {
  berth = await startBerth({
    env: {
      // Devices always have a broker, and no connection test leaves this machine.
      MQTT_BROKER_URL: 'mqtt://environment.example.com',
      BERTH_STAGE: 'local',
      BERTH_SEAL_KEY: Buffer.alloc(32, 1).toString('base64'),
      ADMIN_READ_TOKEN_HASH: sha256Hex(READ_TOKEN),
      BROKER_AUTH_SECRET_HASH: sha256Hex(BROKER_SECRET),
    },
  });
  known = await populate();
  tables = (await berth.sql(`select tablename as name from pg_tables where schemaname = 'public'`))
    .map(({ name }) => name)
    .filter((name) => !['berth_migrations', 'leases', 'refusal_counts'].includes(name));
  await watchChanges();
});
afterAll(() => berth.stop());

it(`${REQUESTS} random requests: no 5xx, each reply conforms to docs/openapi.json, and no refusal changes a row`, async () => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
  const outcomes: Record<string, number> = {};
  const note = (seen: string[]) => {
    for (const outcome of seen) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  };
  let count = 0;
  const one = fc.asyncProperty(fc.gen(), async (g) => {
    count++;
    if (count % REPLENISH_EVERY === 0) await replenish();
    // Each operation in turn; only the request is random.
    const request = drawRequest(g, operations[count % operations.length] as Operation, known);
    note(await check(request, count % HASH_EVERY === 0));
  });
  await fc.assert(one, { numRuns: REQUESTS, seed, endOnFailure: true });
  // 413 and 429 are drawn so rarely that a run may miss them.
  note(await check(tooLarge(), true));
  for (let guess = 0; guess <= 20; guess++) note(await check(wrongKey(), guess === 20));
  console.log(`seed ${seed}: ${JSON.stringify(outcomes)}`);
  // Without success of each operation and each kind of refusal, the checks above would prove little.
  for (const { method, path } of operations)
    expect(Object.keys(outcomes), `${method} ${path}`).toContain(`${method} ${path} done`);
  for (const status of [400, 401, 403, 404, 409, 412, 413, 422, 429])
    expect(Object.keys(outcomes)).toContain(`${status}`);
}, 240_000);

function tooLarge(): Request {
  const operation = operations.find(({ path }) => path === '/api/v1/device/register') as Operation;
  const body = { ...newDevice(), note: 'x'.repeat(20_000) };
  return { operation, params: {}, options: { headers: { authorization: `Bearer ${openKey}` }, body } };
}

function wrongKey(): Request {
  const operation = operations.find(({ path }) => path === '/api/v1/device/register') as Operation;
  return { operation, params: {}, options: { headers: bearer(unknownKey()), body: newDevice(), ip: '192.0.2.1' } };
}

/** Sends the request and checks its reply and effects. @returns the outcomes: status, and code or operation */
async function check(request: Request, hashed: boolean): Promise<string[]> {
  const target = targetOf(request);
  // A random parameter may lead to the literal path of another operation: `/devices/bulk-assign`.
  const { spec } = (await eventFor(target)).route.endpoint;
  const operation = operations.find(({ method, path }) => spec.method === method && spec.path === path) as Operation;
  const before = hashed ? await hashTables() : undefined;
  const answer = await call(target, { ...request.options, remainingMs: remainingMs(operation) });
  const complaint = (what: string) => `${what}\n${describeRequest(target, request)}\n→ ${answer.status} ${answer.text}`;
  if (answer.status >= 500) throw new Error(complaint('a 5xx'));
  const wrong = replyProblem(operation, answer);
  if (wrong) throw new Error(complaint(`not as documented: ${wrong}`));
  const changes = await newChanges();
  if (answer.status < 400) {
    rememberCreated(operation, answer);
    return [String(answer.status), `${operation.method} ${operation.path} done`];
  }
  if (changes.length > 0) throw new Error(complaint(`a refusal changed ${JSON.stringify(changes)}`));
  if (before) expect(await hashTables(), complaint('a refusal changed a table')).toBe(before);
  return [String(answer.status), answer.body.code];
}

function describeRequest(target: string, { options }: Request): string {
  return `${target} ${JSON.stringify(options).slice(0, 2_000)}`;
}

/** Little time for routes that do long work within the call: a job with a low max_per_minute takes minutes. */
function remainingMs({ path }: Operation): number {
  return path.includes('bulk-assign') || path.endsWith('/test') ? 3_000 : 10_000;
}

async function populate(): Promise<KnownValues> {
  const broker = await addBroker(berth, { name: 'broker-a', host: '127.0.0.1', port: 1, is_default: true });
  await addBroker(berth, { name: 'broker-b', host: 'localhost', port: 1 });
  const [open, used, revoked, expired] = await Promise.all([
    issueKey({ maxDevices: 10_000 }),
    issueKey({ maxDevices: 1 }),
    issueKey(),
    issueKey(),
  ]);
  openKey = open.key;
  await register(used.key, newDevice());
  await call(`DELETE /api/v1/provisioning-keys/${revoked.id}`, { headers: admin });
  await berth.sql(`update provisioning_keys set expires_at = now() - interval '1 day' where id = $1`, [expired.id]);
  const device = newDevice({ uuid: 'device-1' });
  await register(openKey, device);
  const credential = (scheme: string, token: string) => ({ scheme, ...bearer(token) });
  const credentials = [
    ...[open, open, open, used, revoked, expired].map(({ key }) => credential('provisioningKey', key)),
    { scheme: 'provisioningKeyHeader', 'x-provisioning-key': openKey },
    ...['device-key-1', 'device-key-2', device.deviceApiKey].map((key) => credential('deviceKey', key)),
    { scheme: 'deviceKeyHeader', 'x-device-api-key': 'device-key-1' },
    ...[ADMIN_TOKEN, ADMIN_TOKEN, ADMIN_TOKEN, READ_TOKEN].map((token) => credential('admin', token)),
    credential('brokerSecret', BROKER_SECRET),
    ...['', 'Basic YTpi', `Bearer ${openKey}, Bearer ${openKey}`, ADMIN_TOKEN, 'bearer', 'Bearer a.b.c'].map(
      (authorization) => ({ scheme: 'none', authorization }),
    ),
    ...['f'.repeat(64), `${openKey.slice(0, -1)}_`, '\0', '\ud800', 'x'.repeat(10_000)].map((key) =>
      credential('none', key),
    ),
    { scheme: 'none' },
  ];
  const fleets = ['fleet-a', 'fleet-b'];
  const brokers = [broker, broker + 1];
  return {
    credentials,
    uuid: ['device-1'],
    username: ['device_device-1', 'device_nobody'],
    topic: ['iot/device/device-1/a', 'iot/device/other/a'],
    broker: brokers,
    deviceApiKey: ['device-key-1', 'device-key-2'],
    fleetId: fleets,
    fleet_id: fleets,
    name: ['broker-a', 'broker-b', 'broker-c', 'broker-d'],
    host: ['127.0.0.1', 'localhost', 'mqtt.invalid', '192.0.2.1:1883'],
    port: [1],
    // Omitted: random values of these are nearly always refused, which hides what the other members do.
    ...Object.fromEntries(
      ['ca_cert', 'client_cert', 'client_key', 'use_tls', 'password', 'all', 'region', 'tags'].map((name) => [
        name,
        [undefined],
      ]),
    ),
    ...Object.fromEntries(
      ['mqtt_broker_id', 'broker_id', 'default_broker_id', 'defaultBrokerId', 'reassign_to'].map((name) => [
        name,
        brokers,
      ]),
    ),
    'mqtt/brokers.id': brokers,
    'provisioning-keys.id': [revoked.id],
    expires_at: ['2030-01-31T12:00:00Z'],
    expiresAt: ['2030-01-31T12:00:00+02:00'],
    'devices/bulk-assign.id': [],
  };
}

/** Adds the id of a created row to the known values. */
function rememberCreated({ method, path }: Operation, { body }: Answer): void {
  if (method !== 'POST' || !body) return;
  const remember = (name: string, value: unknown) => {
    const values = known[name] as unknown[];
    values.unshift(value);
    // Keep the newest: older ones may be deleted meanwhile.
    values.splice(20);
  };
  if (path === '/api/v1/device/register') remember('uuid', body.uuid);
  if (path === '/api/v1/mqtt/brokers') remember('mqtt/brokers.id', body.data.id);
  if (path === '/api/v1/provisioning-keys') remember('provisioning-keys.id', body.id);
  if (path === '/api/v1/devices/bulk-assign' && body.id) remember('devices/bulk-assign.id', body.id);
}

/** Logs each change of a row, except recorded refusals: the only rows that a refusal may write. */
async function watchChanges(): Promise<void> {
  await berth.sql(`
    create table changes (id bigint generated always as identity, what text);
    create function note_change() returns trigger language plpgsql as $$
    begin
      if tg_table_name = 'device_events' and to_jsonb(new) ->> 'type' = 'refused' then return null; end if;
      if tg_op = 'UPDATE' and new is not distinct from old then return null; end if;
      insert into changes (what) values (tg_op || ' ' || tg_table_name);
      return null;
    end $$`);
  for (const table of tables) {
    await berth.sql(
      `create trigger note after insert or update or delete on ${table} for each row execute function note_change()`,
    );
  }
}

let lastChange = 0;
async function newChanges(): Promise<string[]> {
  const rows = await berth.sql('select id::int, what from changes where id > $1 order by id', [lastChange]);
  lastChange = rows.at(-1)?.id ?? lastChange;
  return rows.map(({ what }) => what);
}

async function hashTables(): Promise<string> {
  const parts = tables.map(
    (table) =>
      `(select md5(string_agg(t::text, ',' order by t::text)) from ${table} t
        where ${table === 'device_events' ? `type <> 'refused'` : 'true'})`,
  );
  const [row] = await berth.sql(`select concat_ws(' ', ${parts.join(', ')}) as hash`);
  return row?.hash;
}

/** Cancels open jobs, and adds a usable broker and a device for the next requests. */
async function replenish(): Promise<void> {
  await berth.sql(`
    update bulk_assign_jobs set state = 'cancelled', ended_at = now()
    where state in ('queued', 'running') or id = (select max(id) from bulk_assign_jobs)`);
  const brokers = known.broker as unknown[];
  brokers.unshift(await addBroker(berth, { host: '127.0.0.1', port: 1 }));
  brokers.splice(3);
  const device = newDevice({ deviceApiKey: 'device-key-1' });
  await register(openKey, device);
  known.uuid?.unshift(device.uuid);
  await newChanges();
}
