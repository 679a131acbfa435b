import type { Context } from '../context.ts';
import { findMqttUser, type MqttUser } from './find-user.ts';
import type { ResourceQuestion } from './input.ts';

/** The exchange that RabbitMQ's MQTT plugin publishes to (`mqtt.exchange`, default). */
export const EXCHANGE = 'amq.topic';

/**
 * Whether a user may use a queue or an exchange of RabbitMQ. Only those are allowed that the MQTT plugin needs for the
 * user's own connection.
 *
 * @param brokerId the broker that asks, if known
 * @returns why access is refused; undefined: it is allowed
 */
export async function checkResource(
  ctx: Context,
  brokerId: number | undefined,
  question: ResourceQuestion,
): Promise<string | undefined> {
  const found = await findMqttUser(ctx, question.username, brokerId);
  if ('refusal' in found) return found.refusal;
  return isOwn(found.user, question) ? undefined : 'not a resource of its MQTT connection';
}

function isOwn(user: MqttUser, { resource, name, permission }: ResourceQuestion): boolean {
  if (resource === 'exchange') return name === EXCHANGE && (permission === 'read' || permission === 'write');
  return resource === 'queue' && name !== undefined && user.client_ids.flatMap(queuesOf).includes(name);
}

function queuesOf(clientId: string): string[] {
  return [`mqtt-subscription-${clientId}qos0`, `mqtt-subscription-${clientId}qos1`, `mqtt-will-${clientId}`];
}
