import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadRoutes } from '../../docs/endpoints.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, issueKey, newDevice, register, useBerth } from '../support/berth.ts';

/** The table of docs/adoption.md: which routes of the legacy service Berth has, and which of them are the same. */
const document = readFileSync(new URL('../../docs/adoption.md', import.meta.url), 'utf8');
const [, section = ''] = document.split('## Every legacy route');
const rows = [...section.matchAll(/^\| (.+?) \| (same|different|not ours) \|(.*)\|$/gm)].map(
  ([, routes = '', verdict = '', how = '']) => ({
    routes: [...routes.matchAll(/`([A-Z]+ \/[^`]*)`/g)].map(([, route = '']) => route),
    verdict,
    how: how.trim(),
  }),
);
const listed = (...verdicts: string[]) =>
  rows.filter(({ verdict }) => verdicts.includes(verdict)).flatMap(({ routes }) => routes);

const berth = useBerth();
const device = newDevice();
let broker: number;
beforeAll(async () => {
  broker = await addBroker(berth, { name: 'one' });
  const { key } = await issueKey({ default_broker_id: broker });
  await register(key, device);
});

describe('the table of docs/adoption.md', () => {
  it('every line of it is read, and no route is in it twice', () => {
    expect(rows).toHaveLength(section.match(/^\| (?!route|---)/gm)?.length ?? 0);
    const all = rows.flatMap(({ routes }) => routes);
    expect(all).toEqual([...new Set(all)]);
  });

  it('Berth has every route that is the same or different, and none that is not ours', async () => {
    const ours = (await loadRoutes()).map(
      ({ endpoint: { spec } }) => `${spec.method} ${spec.path.replace('/api/v1', '')}`,
    );
    expect(listed('same', 'different').filter((route) => !ours.includes(route))).toEqual([]);
    expect(listed('not ours').filter((route) => ours.includes(route))).toEqual([]);
  });

  it('each route that is different says how', () => {
    expect(rows.filter(({ verdict, how }) => verdict === 'different' && !how)).toEqual([]);
  });
});

const text = expect.any(String);
const number = expect.any(Number);
const address = { id: number, name: 'one', description: null, protocol: 'mqtt', host: text, port: number };
const listedBroker = {
  ...address,
  username: null,
  use_tls: false,
  client_id_prefix: text,
  keep_alive: 60,
  clean_session: true,
  reconnect_period: 1000,
  connect_timeout: 30000,
  is_active: true,
  is_default: false,
  broker_type: 'local',
  extra_config: {},
  created_at: text,
  updated_at: text,
  last_connected_at: null,
};
const listedKey = {
  id: text,
  fleet_id: 'fleet-a',
  description: null,
  max_devices: 100,
  devices_provisioned: 1,
  expires_at: text,
  is_active: true,
  created_at: text,
  created_by: text,
  last_used_at: text,
};
const containing = (row: object) => ({
  success: true,
  count: 2,
  data: expect.arrayContaining([expect.objectContaining(row)]),
});

/** An example for each route that is the same: the request, and what the legacy service replied. */
type Example = { path: string; send?: object; query?: Record<string, string>; body: object };
const EXAMPLES: Record<string, () => Example> = {
  'PATCH /devices/{uuid}/active': () => ({
    path: `/devices/${device.uuid}/active`,
    send: { is_active: true },
    body: {
      status: 'ok',
      message: 'Device enabled',
      device: { uuid: device.uuid, device_name: device.deviceName, is_active: true, is_online: false },
    },
  }),
  'GET /provisioning-keys': () => ({
    path: '/provisioning-keys',
    query: { fleetId: 'fleet-a' },
    body: { fleet_id: 'fleet-a', count: 1, keys: [listedKey] },
  }),
  'GET /mqtt/brokers': () => ({ path: '/mqtt/brokers', body: containing(listedBroker) }),
  'GET /mqtt/brokers/summary': () => ({
    path: '/mqtt/brokers/summary',
    body: containing({ ...address, device_count: '1', active_device_count: '1' }),
  }),
  'GET /mqtt/brokers/{id}': () => ({
    path: `/mqtt/brokers/${broker}`,
    body: { success: true, data: { ...listedBroker, ca_cert: null, client_cert: null, verify_certificate: true } },
  }),
  'DELETE /devices/{uuid}': () => ({
    path: `/devices/${device.uuid}`,
    body: { status: 'ok', message: 'Device deleted' },
  }),
};

describe('a route that is the same replies with what the legacy service replied', () => {
  it('each has an example', () => {
    expect(Object.keys(EXAMPLES).sort()).toEqual(listed('same').sort());
  });

  it.each(Object.entries(EXAMPLES))('%s', async (route, exampleOf) => {
    const { path, send, query, body } = exampleOf();
    const [method] = route.split(' ');
    const reply = await call(`${method} /api/v1${path}`, { headers: admin, body: send, ...(query ? { query } : {}) });
    expect(reply).toMatchObject({ status: 200, body });
  });
});
