import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import { addBroker, admin, type Berth, startBerth } from '../support/berth.ts';
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

it('the Lambda as it is deployed, bundled to one ES module, can load MQTT and WebSocket', async () => {
  const yaml = readFileSync(new URL('../../serverless.yml', import.meta.url), 'utf8');
  const { target, platform, format, mainFields, banner } = parse(yaml).custom.esbuild;
  const outfile = path.join(dir, 'brokers.mjs');
  await build({
    entryPoints: [new URL('../../functions/brokers.ts', import.meta.url).pathname],
    ...{ outfile, bundle: true, target, platform, format, mainFields, banner },
  });
  const id = await addBroker(berth, { protocol: 'ws', host: 'localhost', port: server.port });
  const event = {
    routeKey: 'POST /api/v1/mqtt/brokers/{id}/test',
    headers: admin,
    pathParameters: { id: String(id) },
    requestContext: { http: { sourceIp: '198.51.100.7' } },
  };
  // In a process of its own: Vitest lends the modules that it loads a `require`, Lambda doesn't.
  const script = `
    const { handler } = await import(${JSON.stringify(pathToFileURL(outfile).href)});
    const context = { awsRequestId: 'bundle', getRemainingTimeInMillis: () => 10_000 };
    const { body } = await handler(${JSON.stringify(event)}, context);
    process.stdout.write(body, () => process.exit());`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  // Refused for want of a user name, and so the whole way there and back.
  expect(JSON.parse(stdout)).toMatchObject({ data: { reachable: false, connack: { reasonCode: 4 } } });
});
