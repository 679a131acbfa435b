import type { Context } from '../context.ts';
import { checkAcl } from './check-acl.ts';
import { EXCHANGE } from './check-resource.ts';
import type { TopicQuestion } from './input.ts';

const ACTIONS: Record<string, string> = { write: 'publish', read: 'subscribe' };

/**
 * {@link checkAcl} for RabbitMQ, whose MQTT plugin spells topics as AMQP does. It takes `.` and `/` for
 * the same, so a topic with a dot is judged as one with a slash, and an ACL with a dot in it grants nothing.
 *
 * @param brokerId the broker that asks, if it says so
 * @returns why not; undefined: it may
 */
export async function checkTopic(
  ctx: Context,
  brokerId: number | undefined,
  { username, name, permission, routing_key }: TopicQuestion,
): Promise<string | undefined> {
  if (name !== EXCHANGE) return `not the exchange ${EXCHANGE}`;
  const topic = routing_key?.replaceAll('.', '/').replaceAll('*', '+');
  const action = ACTIONS[permission ?? ''];
  return checkAcl(ctx, brokerId, { username, topic, action, acc: undefined, clientid: undefined });
}
