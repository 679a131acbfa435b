import type { Context } from '../context.ts';
import { Problem, unauthorized } from '../errors.ts';
import { countResolution, noBroker, resolvedBroker } from '../resolution/resolve.ts';
import { type AuthenticatedDevice, authenticateDevice } from './authenticate.ts';
import { currentPassword, newCredentials, renewCredentials } from './credentials.ts';
import { handSettings } from './hand.ts';
import { formatMqtt, type MqttReply } from './mqtt-reply.ts';

/**
 * The connection settings of a device for the broker that it belongs to now: how it learns that it was moved.
 *
 * @param holds whether the device holds the settings of this version; undefined: it has not said what it holds
 * @throws Problem `unauthorized` without a key, as {@link authenticateDevice}, `no-broker-available`
 */
export async function getMqtt(
  ctx: Context,
  uuid: string,
  deviceKey: string | undefined,
  holds: ((version: string) => boolean) | undefined,
): Promise<MqttReply> {
  if (!deviceKey) {
    throw new Problem(unauthorized, 'Send the device key as `Authorization: Bearer KEY` or `X-Device-API-Key: KEY`.');
  }
  const device = await authenticateDevice(ctx, uuid, deviceKey);
  const broker = resolvedBroker(device);
  countResolution(broker);
  if (!broker) throw noBroker();
  const login = await loginOf(ctx, device, deviceKey);
  const reply = formatMqtt(login.username, login.password, broker);
  await handSettings(ctx, device, broker, holds !== undefined && !holds(reply.version));
  return reply;
}

async function loginOf(ctx: Context, device: AuthenticatedDevice, deviceKey: string) {
  const { mqtt_username: username, mqtt_password_salt: salt } = device;
  const password = currentPassword(device, deviceKey);
  // A legacy device keeps the password it has, which Berth does not know. Any other device gets its next one.
  if (username !== null && (password || salt === null)) return { username, password };
  return renewCredentials(ctx, device, deviceKey, await newCredentials(deviceKey));
}
