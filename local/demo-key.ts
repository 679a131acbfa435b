import { UserError } from '../tools/user-error.ts';

const FLEET = 'demo';

type Listed = {
  id: string;
  is_active: boolean;
  expires_at: string;
  devices_provisioned: number;
  max_devices: number;
};

/**
 * A provisioning key of the fleet `demo` that still accepts devices: the known one, or a new one.
 *
 * @param api `http://…/api/v1` of the running service
 * @param known the key of the last start, if the pepper is still the same
 */
export async function demoKey(api: string, adminToken: string, known: string | undefined): Promise<string> {
  const { keys } = await ask<{ keys: Listed[] }>(`${api}/provisioning-keys?fleetId=${FLEET}`, adminToken);
  if (known && keys.some((key) => known.startsWith(`prov_${key.id}_`) && accepts(key))) return known;
  const body = { fleetId: FLEET, maxDevices: 10_000, expiresInDays: 3650, description: 'Made by npm start' };
  const { key } = await ask<{ key: string }>(`${api}/provisioning-keys`, adminToken, body);
  return key;
}

function accepts(key: Listed): boolean {
  return key.is_active && Date.parse(key.expires_at) > Date.now() && key.devices_provisioned < key.max_devices;
}

async function ask<T>(url: string, adminToken: string, body?: unknown): Promise<T> {
  const reply = await fetch(url, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    body: body ? JSON.stringify(body) : null,
  });
  const text = await reply.text();
  if (!reply.ok)
    throw new UserError(`Berth started, but replied ${reply.status} to the request for a demo key: ${text}`);
  return JSON.parse(text) as T;
}
