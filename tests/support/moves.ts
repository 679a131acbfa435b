import { randomBytes } from 'node:crypto';
import { call } from './api.ts';
import { admin } from './berth.ts';
import { assign } from './bulk.ts';

/** Changes a broker as an operator. */
export const edit = (id: number, body: Record<string, unknown>) =>
  call(`PUT /api/v1/mqtt/brokers/${id}`, { headers: admin, body });

type Change = (uuid: string, here: number, there: number, close?: object) => ReturnType<typeof call>;

/** What an operator does to the device `uuid`, which is at the broker `here`. `close`: `close_former`, or nothing. */
export const CHANGES: Record<string, Change> = {
  PUT: (uuid, _, there, close) =>
    call(`PUT /api/v1/devices/${uuid}`, { headers: admin, body: { mqtt_broker_id: there, ...close } }),
  'bulk-assign': (uuid, _, there, close) => assign(there, { filter: { uuids: [uuid] }, ...close }),
  default: (_uuid, _here, there, close) => edit(there, { is_default: true, ...close }),
  edit: (_uuid, here) => edit(here, { client_id_prefix: `new-${randomBytes(3).toString('hex')}`, keep_alive: 30 }),
  delete: (_uuid, here, there) =>
    call(`DELETE /api/v1/mqtt/brokers/${here}`, { headers: admin, query: { reassign_to: String(there) } }),
};

/** Where a device is after each change, without `close_former`: one that never polls, and one that polls. */
export const PLACES: [change: string, never: string, polls: string][] = [
  ['PUT', 'here', 'there'],
  ['bulk-assign', 'here', 'there'],
  ['default', 'here', 'there'],
  ['edit', 'here', 'here'],
  ['delete', 'offline', 'there'],
];
