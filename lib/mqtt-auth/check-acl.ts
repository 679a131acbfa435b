import type { Context } from '../context.ts';
import { ACCESS, isAllowed } from './acl.ts';
import { findMqttUser } from './find-user.ts';
import type { AclQuestion } from './input.ts';

/** Brokers that ask about a subscription do not ask again about each message, so subscribing requires read access too. */
const ACTIONS: Record<string, number> = {
  publish: ACCESS.write,
  subscribe: ACCESS.subscribe | ACCESS.read,
};

/**
 * Whether `mqtt_acls` allows a user to publish to a topic, subscribe to a filter, or receive a topic. One ACL must cover
 * the whole filter.
 *
 * @param brokerId the broker that asks, if known
 * @returns why access is refused; undefined: it is allowed
 */
export async function checkAcl(
  ctx: Context,
  brokerId: number | undefined,
  { username, topic, action, acc }: AclQuestion,
): Promise<string | undefined> {
  // JSON has the access as a number, a form as text. Number() throws for some other values, and takes [2] for 2.
  const access = typeof acc === 'number' || typeof acc === 'string' ? Number(acc) : 0;
  const wanted = action === undefined ? access : ACTIONS[action];
  const bits = Object.values(ACCESS).filter((bit) => ((wanted ?? 0) & bit) !== 0);
  if (!topic || bits.length === 0) return 'the topic or the action is missing';
  const found = await findMqttUser(ctx, username, brokerId);
  if ('refusal' in found) return found.refusal;
  const { is_superuser, acls } = found.user;
  if (is_superuser || bits.every((bit) => isAllowed(acls, topic, bit))) return undefined;
  return 'no ACL allows this';
}
