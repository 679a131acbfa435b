import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { addBroker, admin, type Berth, startBerth } from '../support/berth.ts';
import { bundleFunction } from '../support/bundle.ts';
import { type MqttServer, startMqttServer } from '../support/mqtt-servers.ts';

let berth: Berth;
let server: MqttServer;
const dir = mkdtempSync(path.join(tmpdir(), 'berth-bundle-'));
beforeAll(async () => {
  berth = await startBerth({ env: { BERTH_STAGE: 'local' } });
  server = await startMqttServer({ protocol: 'ws' });
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await server.close();
  await berth.stop();
});

it('the bundle that is deployed loads its chunk for MQTT and WebSocket', async () => {
  const { start } = await bundleFunction('brokers', dir);
  expect(start.map(({ name }) => name)).toContain('brokers.mjs');
  const module = pathToFileURL(path.join(dir, 'functions/brokers.mjs')).href;
  const id = await addBroker(berth, { protocol: 'ws', host: 'localhost', port: server.port });
  const event = {
    routeKey: 'POST /api/v1/mqtt/brokers/{id}/test',
    headers: admin,
    pathParameters: { id: String(id) },
    requestContext: { http: { sourceIp: '198.51.100.7' } },
  };
  // In a process of its own, because Vitest gives modules a `require` and Lambda does not.
  const script = `
    const { handler } = await import(${JSON.stringify(module)});
    const context = { awsRequestId: 'bundle', getRemainingTimeInMillis: () => 10_000 };
    const { body } = await handler(${JSON.stringify(event)}, context);
    process.stdout.write(body, () => process.exit());`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  // The server's refusal, because there is no user name, shows that the connection works.
  expect(JSON.parse(stdout)).toMatchObject({ data: { reachable: false, connack: { reasonCode: 4 } } });
});
