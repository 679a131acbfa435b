import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect } from 'mqtt';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { portTaken } from '../../local/ports.ts';
import { hashOf } from '../../local/state.ts';
import { serverlessPackage } from '../support/package.ts';
import {
  cloneProject,
  type Local,
  localFile,
  type Program,
  run,
  type stackPorts,
  startStack,
} from '../support/stack.ts';

const WORKER = fileURLToPath(new URL('../support/bulk-worker.ts', import.meta.url));

const BROKER_SECRET = 'secret-of-the-brokers';
process.env.BROKER_AUTH_SECRET_HASH = hashOf(BROKER_SECRET);

const clone = cloneProject();
let ports: Awaited<ReturnType<typeof stackPorts>>;
let stack: Program;
let local: Local;

const start = () => run(process.execPath, ['local/start.ts'], { cwd: clone.dir, env: ports });
const device = (env: Record<string, string> = {}) =>
  run(process.execPath, ['examples/device/device.ts'], { cwd: clone.dir, env: { POLL_SECONDS: '1', ...env } });
/** Runs a printed command in a shell. */
const paste = (command: string) =>
  execFileSync('bash', ['-c', command], { encoding: 'utf8', cwd: clone.dir, stdio: ['ignore', 'pipe', 'ignore'] });
const banner = (start: string) => {
  const text = stack.output();
  const from = text.indexOf(start);
  return text.slice(from, text.indexOf('\n\n', from)).trim();
};
const putBroker = (uuid: string, mqtt_broker_id: number) =>
  fetch(`${local.url}/api/v1/devices/${uuid}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${local.adminToken}` },
    body: JSON.stringify({ mqtt_broker_id, reason: 'test' }),
  });

beforeAll(async () => {
  ({ stack, ports } = await startStack(clone.dir));
  local = localFile(clone.dir) as Local;
});
afterAll(async () => {
  if (stack.child.exitCode === null) await stack.end('SIGINT');
  clone.remove();
});

describe('npm start', () => {
  it('prints a curl that registers test-123, with the same reply when pasted again', () => {
    const command = banner('curl -i -X POST');
    const [head, body] = paste(command).split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1.1 200/);
    expect(head).not.toMatch(/idempotent-replayed/i);
    expect(JSON.parse(body ?? '')).toMatchObject({
      uuid: 'test-123',
      deviceName: 'Test Device',
      mqtt: { username: 'device_test-123' },
    });
    const [headAgain, bodyAgain] = paste(command).split('\r\n\r\n');
    expect(headAgain).toMatch(/idempotent-replayed: true/i);
    expect(bodyAgain).toBe(body);
  });

  it('prints a curl that lists the provisioning keys', () => {
    expect(JSON.parse(paste(banner("curl 'http")))).toMatchObject({ fleet_id: 'demo', count: 1 });
  });

  it('prints commands for a readable answer and for the database', () => {
    expect(paste(banner('npm run -s berth').replace('npm run -s berth --', 'node local/berth.ts'))).toMatch(
      /^\{\n {2}"/,
    );
    expect(stack.output()).toContain('\n  npm run psql\n');
  });

  it('prints first the address of the panel, which opens signed in', async () => {
    const [, address = ''] = /^Open (http:\/\/localhost:\d+\/) /m.exec(banner('Open ')) ?? [];
    expect(stack.output().indexOf('Open ')).toBeLessThan(stack.output().indexOf('Berth runs at'));
    const page = await fetch(`${address}devices?behind=true`, { headers: { 'accept-encoding': 'br' } });
    expect(page.headers.get('content-encoding')).toBe('br');
    const [, script = ''] = /<script type="module" src="\/([^"]+)"/.exec(await page.text()) ?? [];
    const loaded = await fetch(address + script);
    expect([loaded.status, loaded.headers.get('content-type')]).toEqual([200, 'text/javascript; charset=utf-8']);
    expect(await loaded.text()).toMatch(/^(import|var|let|const|function)/);
    const settings = (await (await fetch(`${address}panel-settings.json`)).json()) as { localToken: string };
    expect(settings).toMatchObject({ stage: 'local', auth: { kind: 'token' }, localToken: local.adminToken });
    const session = await fetch(`${address}api/v1/session`, {
      headers: { authorization: `Bearer ${settings.localToken}` },
    });
    expect(await session.json()).toEqual({ actor: 'admin', scopes: ['read', 'write'] });
  });

  it('gives the token to no other page: not to one whose name leads here, and none of another origin may read it', () => {
    const asked = (host: string) =>
      paste(`curl -si ${local.url}/panel-settings.json -H 'Host: ${host}' -H 'Origin: http://attacker.example.com'`);
    expect(asked('127.0.0.1:4002')).toContain(local.adminToken);
    expect(asked('attacker.example.com')).toMatch(/^HTTP\/1.1 200/);
    for (const host of ['127.0.0.1:4002', 'attacker.example.com']) {
      expect(asked(host)).not.toMatch(/access-control-allow-origin/i);
    }
    expect(asked('attacker.example.com')).not.toContain(local.adminToken);
  });

  it('prints the user with which a broker that is added passes its connection test', async () => {
    const [, username, password] = /user (\S+), password (\S+)/.exec(stack.output()) ?? [];
    const { port } = new URL(local.brokers[0]?.url ?? '');
    const body = { name: 'added', host: 'localhost', port: Number(port), username, password };
    const post = async (path: string, body: object) => {
      const headers = { authorization: `Bearer ${local.adminToken}` };
      const reply = await fetch(`${local.url}/api/v1/mqtt/brokers${path}`, {
        ...{ method: 'POST', headers, body: JSON.stringify(body) },
      });
      return (await reply.json()) as { data: { id: number; reachable?: boolean } };
    };
    const { data: added } = await post('', body);
    expect((await post(`/${added.id}/test`, {})).data).toMatchObject({ reachable: true });
    await fetch(`${local.url}/api/v1/mqtt/brokers/${added.id}`, {
      ...{ method: 'DELETE', headers: { authorization: `Bearer ${local.adminToken}` } },
    });
  });

  it('prints no line without a result', () => {
    expect(stack.output()).not.toMatch(/λ|RequestId:|invoked scheduled/);
  });

  it('npm run reset deletes nothing without --yes where nobody can be asked', async () => {
    const reset = run(process.execPath, ['local/reset.ts'], { cwd: clone.dir });
    expect(await reset.ended).toBe(1);
    expect(reset.output()).toMatch(/^Nobody can confirm this here: `npm run reset -- --yes` deletes/);
  });

  it('refuses a second start in one sentence', async () => {
    const second = start();
    await second.says(/already running/);
    expect(second.output()).not.toMatch(/\n\s+at /);
    expect(await second.ended).toBe(1);
  });

  it('passes the handlers’ replies through the gateway: 413 for 10 MB, 401 for an invalid key', async () => {
    const post = (body: string, authorization: string) =>
      fetch(`${local.url}/api/v1/device/register`, { method: 'POST', headers: { authorization }, body });
    expect((await post('a'.repeat(10 * 1024 * 1024), 'Bearer x')).status).toBe(413);
    const invalid = await post(
      JSON.stringify({ uuid: 'a', deviceName: 'b', deviceType: 'c', deviceApiKey: 'device-key' }),
      'Bearer x',
    );
    expect(invalid.status).toBe(401);
    expect(invalid.headers.get('content-type')).toBe('application/problem+json');
  });
});

describe('the build that npm start serves', () => {
  const registered = async () => {
    const [head, body] = paste(banner('curl -i -X POST')).split('\r\n\r\n');
    return { status: Number(head?.split(' ')[1]), body: JSON.parse(body ?? '') };
  };

  it('outlives `npm run package`, which leaves nothing else than .serverless/', async () => {
    const TMPDIR = path.join(clone.dir, 'tmp');
    mkdirSync(TMPDIR);
    await serverlessPackage(clone.dir, { TMPDIR });
    expect(readdirSync(TMPDIR)).toEqual([]);
    expect(readdirSync(path.join(clone.dir, '.esbuild'))).toEqual(['offline']);
    expect(await registered()).toMatchObject({ status: 200, body: { uuid: 'test-123' } });
  });

  it('500 and one line, when a function cannot be loaded', async () => {
    rmSync(path.join(clone.dir, '.esbuild/offline/.build/functions/brokers.mjs'));
    const before = stack.output().length;
    const reply = await fetch(`${local.url}/api/v1/mqtt/brokers`, { method: 'POST' });
    expect(reply.status).toBe(500);
    expect(await reply.json()).toEqual({ message: 'Internal Server Error' });
    await stack.says(/^POST \/api\/v1\/mqtt\/brokers 500 .*: the function failed: .*brokers/m);
    // The line of the registration before may be late.
    const lines = stack.output().slice(before).trim().split('\n');
    expect(lines.filter((line) => !line.startsWith('POST /api/v1/device/register 200'))).toHaveLength(1);
  });
});

describe('npm run device', () => {
  it('connects with the settings that it received, uses only its own topic, and follows a move', async () => {
    const agent = device();
    await agent.says(/round trip on iot\/device/);
    await agent.says(/refused on iot\/device\/someone-else/);
    const uuid = /device ([0-9a-f-]{36}):/.exec(agent.output())?.[1] as string;
    const [first, second] = local.brokers as [Local['brokers'][0], Local['brokers'][0]];
    expect(agent.output()).toContain(`connected to ${first.url}`);
    expect((await putBroker(uuid, second.id)).status).toBe(200);
    await agent.says(new RegExp(`moved from ${first.url} to ${second.url}`));
    await agent.says(new RegExp(`connected to ${second.url}`));
    expect(await agent.end('SIGINT')).toBe(0);
  });

  it('keeps its identity after a restart', async () => {
    const agent = device();
    await agent.says(/registered; its broker: local-2/);
    expect(await agent.end('SIGTERM')).toBe(0);
  });

  it('mqtt-auth logs in as a role of its own, and the other functions as berth_app', async () => {
    await fetch(`${local.url}/api/v1/mqtt/auth/user`, {
      method: 'POST',
      headers: { authorization: `Bearer ${BROKER_SECRET}` },
      body: JSON.stringify({ username: 'device_nobody', password: 'x' }),
    });
    const client = new pg.Client({ connectionString: local.databaseUrl });
    await client.connect();
    const seen = await client
      .query(`select usename, bool_or(query like '%mqtt_broker_users%') as asks from pg_stat_activity
              where application_name = 'berth' group by usename order by usename`)
      .finally(() => client.end());
    expect(seen.rows).toEqual([
      { usename: 'berth_app', asks: false },
      { usename: 'berth_mqtt_auth', asks: true },
    ]);
  });

  it('both brokers accept a moved device that was not handed the new one; after close_former only the new one', async () => {
    const registered = await fetch(`${local.url}/api/v1/device/register`, {
      method: 'POST',
      headers: { 'x-provisioning-key': local.provisioningKey },
      body: JSON.stringify({ uuid: 'mover', deviceName: 'Mover', deviceType: 'test', deviceApiKey: 'mover-key' }),
    });
    const { mqtt } = (await registered.json()) as { mqtt: { username: string; password: string; broker: string } };
    const attempt = (url: string) =>
      new Promise<string>((resolve) => {
        const client = connect(url, {
          username: mqtt.username,
          password: mqtt.password,
          reconnectPeriod: 0,
          clientId: mqtt.username,
        });
        client.once('connect', () => client.end(true, () => resolve('connected')));
        client.once('error', (error) => client.end(true, () => resolve(error.message)));
      });
    const [first, second] = local.brokers as [Local['brokers'][0], Local['brokers'][0]];
    expect(await attempt(mqtt.broker)).toBe('connected');
    await putBroker('mover', second.id);
    expect(await attempt(first.url)).toBe('connected');
    expect(await attempt(second.url)).toBe('connected');
    await putBroker('mover', first.id);
    const closed = await fetch(`${local.url}/api/v1/devices/mover`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${local.adminToken}` },
      body: JSON.stringify({ mqtt_broker_id: second.id, close_former: true }),
    });
    expect(closed.status).toBe(200);
    expect(await attempt(first.url)).toMatch(/[Nn]ot authorized/);
    expect(await attempt(second.url)).toBe('connected');
  });
});

describe('the schedule', () => {
  it('completes the job of a killed worker', async () => {
    const client = new pg.Client({ connectionString: local.databaseUrl });
    await client.connect();
    const one = async (text: string, values?: unknown[]) => (await client.query(text, values)).rows[0];
    await client.query(
      `insert into devices (uuid, fleet_id) select 'killed-' || n, 'killed' from generate_series(1, 20000) n`,
    );
    const { id } = await one(
      `insert into bulk_assign_jobs (once, request_id, created_by, filter, target_broker_id, start_id, cursor_id, end_id)
       select 'killed', 'r', 'admin', '{"fleet_id": "killed"}', $1, 0, 0, max(id) from devices returning id`,
      [local.brokers[1]?.id],
    );
    const job = () => one('select state, moved, skipped from bulk_assign_jobs where id = $1', [id]);
    const worker = spawn(process.execPath, [WORKER], {
      env: { ...process.env, DATABASE_URL: local.databaseUrl, BERTH_PEPPER: 'p'.repeat(32) },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    while ((await job()).moved === 0) await sleep(5);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    expect(await job()).toMatchObject({ state: 'running' });
    for (const end = Date.now() + 100_000; Date.now() < end && (await job()).state === 'running'; ) await sleep(500);
    expect(await job()).toEqual({ state: 'finished', moved: 20_000, skipped: 0 });
    expect(await one('select count(*)::int as moves from device_events where job_id = $1', [id])).toEqual({
      moves: 20_000,
    });
    await client.end();
  });

  it('counts devices and moves: GET /stats has those of the job', async () => {
    const get = async () => {
      const headers = { authorization: `Bearer ${local.adminToken}` };
      const reply = await fetch(`${local.url}/api/v1/stats?resolution=hour`, { headers });
      const { brokers, points } = (await reply.json()) as Record<string, { [name: string]: number }[]>;
      const resolved = brokers?.find(({ id }) => id === local.brokers[1]?.id)?.resolved ?? 0;
      return { resolved, moved: (points ?? []).reduce((sum, point) => sum + (point.moved ?? 0), 0) };
    };
    for (const end = Date.now() + 130_000; Date.now() < end && (await get()).moved < 20_000; ) await sleep(1_000);
    const { resolved, moved } = await get();
    expect(moved).toBeGreaterThanOrEqual(20_000);
    expect(resolved).toBeGreaterThanOrEqual(20_000);
  });
});

describe('stopping', () => {
  const everythingFree = async () => {
    const all = [ports.PORT, ...ports.MQTT_PORTS.split(','), new URL(local.databaseUrl).port].map(Number);
    return (await Promise.all(all.map((port) => portTaken(port, '127.0.0.1')))).every((taken) => !taken);
  };

  it('Ctrl-C ends all processes and keeps the data for the next start', async () => {
    expect(await stack.end('SIGINT')).toBe(0);
    expect(localFile(clone.dir)).toBeUndefined();
    expect(await everythingFree()).toBe(true);
    stack = start();
    await stack.says(/^Ready\.$/m, 120_000);
    local = localFile(clone.dir) as Local;
    expect(paste(banner('curl -i -X POST'))).toMatch(/idempotent-replayed: true/i);
  });

  it('kill -9 leaves no process running', async () => {
    await stack.end('SIGKILL');
    for (const end = Date.now() + 20_000; !(await everythingFree()) && Date.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(await everythingFree()).toBe(true);
  });
});
