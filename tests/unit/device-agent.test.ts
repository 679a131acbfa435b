import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { PASSWORD, startMqttServer, USERNAME } from '../support/mqtt-servers.ts';
import { serve } from '../support/serve.ts';
import { run } from '../support/stack.ts';

const AGENT = fileURLToPath(new URL('../../examples/device/device.ts', import.meta.url));
const dir = mkdtempSync(path.join(tmpdir(), 'berth-device-'));
afterAll(() => rmSync(dir, { recursive: true }));

const closing: { close(): Promise<void> }[] = [];
afterEach(async () => {
  vi.unstubAllGlobals();
  for (const one of closing.splice(0)) await one.close();
});

type Reply = { status: number; body: unknown };

/** A stand-in for Berth's devices' routes, on a free port. @returns its URL */
async function startService(reply: (request: IncomingMessage) => Reply): Promise<string> {
  const served = await serve(
    createServer((request, response) => {
      const { status, body } = reply(request);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    }),
  );
  closing.push(served);
  return `http://127.0.0.1:${served.port}`;
}

async function startBroker(): Promise<{ url: string; clients: string[] }> {
  const broker = await startMqttServer({ protocol: 'mqtt' });
  closing.push(broker);
  return { url: `mqtt://127.0.0.1:${broker.port}`, clients: broker.clients };
}

it('a known password is kept: a device moves with a reply that has none, as for legacy devices', async () => {
  const [first, second] = [await startBroker(), await startBroker()];
  const settings = (broker: string) => ({
    username: USERNAME,
    broker,
    topics: { publish: [], subscribe: ['x'] },
    assignment: { source: 'device', brokerId: 1, brokerName: 'b' },
  });
  const url = await startService(({ method }) =>
    method === 'POST'
      ? { status: 200, body: { mqtt: { ...settings(first.url), password: PASSWORD } } }
      : { status: 200, body: settings(second.url) },
  );
  const agent = run(process.execPath, [AGENT], {
    cwd: dir,
    env: { BERTH_URL: url, BERTH_PROVISIONING_KEY: 'k', DEVICE_DIR: path.join(dir, 'moves'), POLL_SECONDS: '0.2' },
  });
  await agent.says(new RegExp(`connected to ${second.url}`), 4_000).finally(() => agent.end('SIGTERM'));
  expect([first.clients.length, second.clients.length]).toEqual([1, 1]);
  // The file has the device key.
  expect(statSync(path.join(dir, 'moves', 'identity.json')).mode & 0o777).toBe(0o600);
});

it('SIGTERM opens no further connection, while a broker is slow to end the one in use', async () => {
  let connections = 0;
  // Accepts a client, and says nothing more.
  const broker = createTcpServer({ allowHalfOpen: true }, (socket) => {
    connections++;
    socket.once('data', () => socket.write(Buffer.of(0x20, 2, 0, 0)));
  });
  const served = await serve(broker);
  closing.push(served);
  const mqtt = {
    username: USERNAME,
    password: PASSWORD,
    broker: `mqtt://127.0.0.1:${served.port}`,
    topics: { publish: [], subscribe: ['x'] },
    assignment: { source: 'device', brokerId: 1, brokerName: 'b' },
  };
  const url = await startService(({ method }) => ({ status: 200, body: method === 'POST' ? { mqtt } : mqtt }));
  const agent = run(process.execPath, [AGENT], {
    cwd: dir,
    env: { BERTH_URL: url, BERTH_PROVISIONING_KEY: 'k', DEVICE_DIR: path.join(dir, 'stops'), POLL_SECONDS: '0.1' },
  });
  await agent.says(/connected to/, 4_000).finally(() => agent.end('SIGTERM'));
  expect(connections).toBe(1);
});

it.each([429, 500, 503])('%i is not final: the device asks again after a pause', async (status) => {
  const sleep = vi.fn(async () => {});
  vi.doMock('node:timers/promises', () => ({ setTimeout: sleep }));
  vi.stubEnv('DEVICE_DIR', path.join(dir, 'retries'));
  vi.stubEnv('BERTH_URL', 'http://berth.example.com');
  vi.stubEnv('BERTH_PROVISIONING_KEY', 'k');
  vi.spyOn(console, 'log').mockImplementation(() => {});
  const fetch = vi
    .fn()
    .mockResolvedValueOnce(Response.json({ code: 'too-many-requests' }, { status }))
    .mockResolvedValueOnce(Response.json({ ok: true }));
  vi.stubGlobal('fetch', fetch);
  const { call } = await import('../../examples/device/call.ts');
  expect(await call('/device/register', 'k', { headers: {} })).toMatchObject({ status: 200, body: { ok: true } });
  expect(fetch).toHaveBeenCalledTimes(2);
  vi.unstubAllEnvs();
});
