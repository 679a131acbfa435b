import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { log } from '../../lib/log.ts';
import { call } from '../support/api.ts';
import {
  ADMIN_TOKEN,
  addBroker,
  admin,
  type Berth,
  issueKey,
  newDevice,
  PEPPER,
  register,
  startBerth,
} from '../support/berth.ts';

let berth: Berth;
let written = '';
beforeAll(async () => {
  berth = await startBerth();
  await addBroker(berth, { is_default: true });
});
afterAll(() => berth.stop());
afterEach(() => {
  log.setLogLevel('SILENT');
  vi.restoreAllMocks();
});

function listen(): void {
  written = '';
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      written += chunk;
      return true;
    });
  }
  log.setLogLevel('DEBUG');
}

it('no key, password, token or pepper of a device’s or an operator’s request is in the log, whatever comes of it', async () => {
  listen();
  const { key, id } = await issueKey();
  const device = newDevice();
  const { body } = await register(key, device);
  const headers = { authorization: `Bearer ${device.deviceApiKey}` };
  const route = `/api/v1/device/${device.uuid}`;
  const others = Array.from({ length: 3 }, () => randomBytes(24).toString('base64url'));
  await register(key, device);
  await register(key, { ...device, deviceApiKey: others[0] });
  await register(`${key.slice(0, -6)}-wrong`, device);
  await register(key, JSON.stringify(device).slice(0, -1));
  await call(`GET ${route}/mqtt`, { headers });
  await call(`GET ${route}/mqtt`, { headers: { authorization: `Bearer ${others[1]}` } });
  await call(`POST ${route}/key-exchange`, { headers, body: { deviceApiKey: others[2] } });
  await call(`DELETE /api/v1/provisioning-keys/${id}`, { headers: admin });
  await berth.sql(
    `create or replace function fail() returns trigger language plpgsql as $$ begin raise exception 'in the middle %', new; end $$`,
  );
  await berth.sql('create trigger fail before insert on devices for each row execute function fail()');
  const { key: second } = await issueKey();
  expect((await register(second, newDevice({ deviceApiKey: others[0] }))).status).toBe(500);
  await berth.sql('drop trigger fail on devices');
  log.setLogLevel('SILENT');

  for (const line of ['POST /api/v1/device/register', 'GET /api/v1/device/{uuid}/mqtt', 'unexpected failure']) {
    expect(written).toContain(line);
  }
  const parts = [key, second].map((one) => one.slice(-20));
  for (const secret of [...parts, device.deviceApiKey, ...others, body.mqtt.password, ADMIN_TOKEN, PEPPER]) {
    expect(written).not.toContain(secret);
  }
});
