import { PROBE_USER, saveProbeUser } from '../tools/probe-user.ts';
import { UserError } from '../tools/user-error.ts';
import type { LocalBroker } from './database.ts';
import type { Secrets } from './state.ts';

/** Gives the embedded brokers a user for their connection test. Leaves a broker alone that an operator gave another user. */
export async function giveProbeUser(
  api: string,
  databaseUrl: string,
  brokers: LocalBroker[],
  { adminToken, probePassword }: Secrets,
): Promise<void> {
  await saveProbeUser(databaseUrl, probePassword);
  const headers = { authorization: `Bearer ${adminToken}` };
  for (const { id, name, username } of brokers) {
    if (username && username !== PROBE_USER) continue;
    const body = JSON.stringify({ username: PROBE_USER, password: probePassword });
    const reply = await fetch(`${api}/mqtt/brokers/${id}`, { method: 'PUT', headers, body });
    if (!reply.ok)
      throw new UserError(`Berth replied ${reply.status} to the probe user of ${name}: ${await reply.text()}`);
  }
}
