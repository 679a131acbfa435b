import { uuidInUsername } from '../devices/mqtt-reply.ts';
import type { MqttUser } from './find-user.ts';

/**
 * The MQTT client ids that are a user's own: its username, and for a device its broker's prefix, `_` and
 * its uuid. RabbitMQ names queues by the client id alone, so with another's a device would read
 * what waits for that one.
 */
export function clientIdsOf({ username, device_uuid, client_id_prefix }: MqttUser): string[] {
  const prefix = client_id_prefix ?? 'berth';
  const uuids = device_uuid === null ? [] : [device_uuid, uuidInUsername(username)];
  return [username, ...uuids.map((uuid) => `${prefix}_${uuid}`)];
}
