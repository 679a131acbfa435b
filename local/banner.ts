import type { LocalBroker } from './database.ts';
import type { LocalFile } from './state.ts';

/** What `npm start` prints when all is up: commands that work as they stand in another terminal. */
export function banner(local: LocalFile, brokers: LocalBroker[]): string {
  const api = `${local.url}/api/v1`;
  const device = { uuid: 'test-123', deviceName: 'Test Device', deviceType: 'raspberry-pi', deviceApiKey: 'test-key' };
  const list = brokers.map(({ name, url, isDefault }) => `${name} ${url}${isDefault ? ' (default)' : ''}`).join(', ');
  return `
Berth answers at ${api}
MQTT brokers: ${list}

Register a device (in another terminal; repeat it, and the same credentials come back):

  curl -i -X POST ${api}/device/register \\
    -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer ${local.provisioningKey}' \\
    -d '${JSON.stringify(device)}'

See the provisioning keys, as an operator:

  curl '${api}/provisioning-keys?fleetId=demo' \\
    -H 'Authorization: Bearer ${local.adminToken}'

Run a device that registers and connects:

  npm run device

Ctrl-C stops all of it and keeps the data; \`npm run reset\` empties it. Scripts find these values in .berth/local.json.

Ready.`;
}
