import type { Context } from '../context.ts';
import { noBrokerAvailable, Problem, unauthorized } from '../errors.ts';
import { resolvedBroker } from '../resolution/resolve.ts';
import { settings } from '../settings/settings.ts';
import { authenticateDevice } from './authenticate.ts';
import { newCredentials, passwordOf, renewCredentials } from './credentials.ts';
import type { MqttReply } from './input.ts';
import { formatMqtt, mqttUsername } from './mqtt-reply.ts';

/**
 * The connection settings of a device for the broker that is right now: how it learns that it was moved.
 * @throws Problem `unauthorized` without a key, as {@link authenticateDevice}, `no-broker-available`
 */
export async function getMqtt(ctx: Context, uuid: string, deviceKey: string | undefined): Promise<MqttReply> {
  if (!deviceKey)
    throw new Problem(unauthorized, 'Send the device key as `Authorization: Bearer KEY` or `X-Device-API-Key: KEY`.');
  const device = await authenticateDevice(ctx, uuid, deviceKey);
  const broker = resolvedBroker(device, settings().mqttBrokerUrl);
  if (!broker) throw new Problem(noBrokerAvailable);
  const username = device.mqtt_username ?? mqttUsername(device.uuid);
  const password = passwordOf(device, deviceKey);
  // A legacy device keeps the password it has, which nobody here knows; any other gets its next one.
  if (password || device.mqtt_password_salt === null) return formatMqtt(username, password, broker);
  const login = await renewCredentials(ctx, device, deviceKey, await newCredentials(deviceKey));
  return formatMqtt(login.username, login.password, broker);
}
