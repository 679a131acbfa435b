import { PROBE_USER } from '../tools/probe-user.ts';
import type { LocalBroker } from './database.ts';
import type { LocalFile } from './state.ts';

/**
 * What `npm start` prints when everything runs: commands that work when pasted into another terminal.
 * @param probePassword of the user that connection tests log in as
 */
export function banner(local: LocalFile, brokers: LocalBroker[], probePassword: string): string {
  const api = `${local.url}/api/v1`;
  const device = { uuid: 'test-123', deviceName: 'Test Device', deviceType: 'raspberry-pi', deviceApiKey: 'test-key' };
  const list = brokers.map(({ name, url, isDefault }) => `${name} ${url}${isDefault ? ' (default)' : ''}`).join(', ');
  if (!local.provisioningKey) {
    return `
Open ${local.url}/ – the operators' panel, signed in.

Berth runs at ${api}, on the database of DATABASE_URL.
That has brokers, so it gets no local ones and no demo key. The operators' token for this API is in .berth/local.json.

Issue a provisioning key, and run a device with it:

  npm run -s berth -- POST /provisioning-keys '{"fleetId":"demo"}'
  BERTH_URL=${local.url} BERTH_PROVISIONING_KEY=prov_… npm run device

Ready.`;
  }
  return `
Open ${local.url}/ – the operators' panel, signed in.

Berth runs at ${api}
MQTT brokers: ${list}
For the connection test of a broker that you add for one of these addresses: user ${PROBE_USER}, password ${probePassword}

Register a device in another terminal. If you repeat this, you get the same credentials:

  curl -i -X POST ${api}/device/register \\
    -H 'Content-Type: application/json' \\
    -H 'Authorization: Bearer ${local.provisioningKey}' \\
    -d '${JSON.stringify(device)}'

List the provisioning keys, as an operator:

  curl '${api}/provisioning-keys?fleetId=demo' \\
    -H 'Authorization: Bearer ${local.adminToken}'

The same, readable:

  npm run -s berth -- '/provisioning-keys?fleetId=demo'

Run a device that registers and connects:

  npm run device

Open the database:

  npm run psql

Ctrl-C stops everything and keeps the data. \`npm run reset\` deletes the data. Scripts read these values from .berth/local.json.

Ready.`;
}
