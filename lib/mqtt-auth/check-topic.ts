import type { Context } from '../context.ts';
import { checkAcl } from './check-acl.ts';
import { EXCHANGE } from './check-resource.ts';
import type { TopicQuestion } from './input.ts';

const ACTIONS: Record<string, string> = { write: 'publish', read: 'subscribe' };

/**
 * {@link checkAcl} for RabbitMQ, whose MQTT plugin uses AMQP notation for topics. It treats `.` and `/` alike, so a dot in
 * a topic counts as a slash, and an ACL with a dot grants nothing.
 *
 * @param brokerId the broker that asks, if known
 * @returns why access is refused; undefined: it is allowed
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
