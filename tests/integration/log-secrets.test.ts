import { randomBytes } from 'node:crypto';
import { afterEach, expect, it, vi } from 'vitest';
import { log } from '../../lib/log.ts';
import { call } from '../support/api.ts';
import {
  ADMIN_TOKEN,
  admin,
  bearer,
  issueKey,
  newDevice,
  PEPPER,
  register,
  useBerth,
  withTrigger,
} from '../support/berth.ts';

const berth = useBerth();
let written = '';
afterEach(() => {
  log.setLogLevel('SILENT');
  vi.restoreAllMocks();
});

function captureOutput(): void {
  written = '';
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      written += chunk;
      return true;
    });
  }
  log.setLogLevel('DEBUG');
}

it('no key, password, token or pepper appears in the log at level DEBUG, in successful, refused and failed requests', async () => {
  captureOutput();
  const { key, id } = await issueKey();
  const device = newDevice();
  const { body } = await register(key, device);
  const headers = bearer(device.deviceApiKey);
  const route = `/api/v1/device/${device.uuid}`;
  const others = Array.from({ length: 3 }, () => randomBytes(24).toString('base64url'));
  await register(key, device);
  await register(key, { ...device, deviceApiKey: others[0] });
  await register(`${key.slice(0, -6)}-wrong`, device);
  await register(key, JSON.stringify(device).slice(0, -1));
  await call(`GET ${route}/mqtt`, { headers });
  await call(`GET ${route}/mqtt`, { headers: bearer(others[1] as string) });
  await call(`POST ${route}/key-exchange`, { headers, body: { deviceApiKey: others[2] } });
  await call(`DELETE /api/v1/provisioning-keys/${id}`, { headers: admin });
  const { key: second } = await issueKey();
  await withTrigger(berth, 'before insert on devices', `raise exception 'injected %', new`, async () => {
    expect((await register(second, newDevice({ deviceApiKey: others[0] }))).status).toBe(500);
  });
  log.setLogLevel('SILENT');

  for (const line of ['POST /api/v1/device/register', 'GET /api/v1/device/{uuid}/mqtt', 'unexpected failure']) {
    expect(written).toContain(line);
  }
  const parts = [key, second].map((one) => one.slice(-20));
  for (const secret of [...parts, device.deviceApiKey, ...others, body.mqtt.password, ADMIN_TOKEN, PEPPER]) {
    expect(written).not.toContain(secret);
  }
});
