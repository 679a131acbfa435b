import { uuidInUsername } from '../devices/mqtt-reply.ts';
import type { MqttUser } from './find-user.ts';

/**
 * The MQTT client ids that a user may use: its username, and for a device `<prefix of its broker>_<uuid>`. RabbitMQ names
 * queues after the client id alone, so with the client id of another device it could read that device's messages.
 */
export function clientIdsOf({ username, device_uuid, client_id_prefix }: MqttUser): string[] {
  const prefix = client_id_prefix ?? 'berth';
  const uuids = device_uuid === null ? [] : [device_uuid, uuidInUsername(username)];
  return [username, ...uuids.map((uuid) => `${prefix}_${uuid}`)];
}
