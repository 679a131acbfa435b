import type { Context } from '../context.ts';
import { ACCESS, isAllowed } from './acl.ts';
import { findMqttUser } from './find-user.ts';
import type { AclQuestion } from './input.ts';

/** Brokers that ask about the subscription alone never ask again about what it brings: that wants leave to read too. */
const ACTIONS: Record<string, number> = {
  publish: ACCESS.write,
  subscribe: ACCESS.subscribe | ACCESS.read,
};

/**
 * Whether a user may publish to a topic, subscribe to a filter, or be sent a topic, by mqtt_acls. A filter
 * must be covered by that of one ACL.
 *
 * @param brokerId the broker that asks, if it says so
 * @returns why not; undefined: it may
 */
export async function checkAcl(
  ctx: Context,
  brokerId: number | undefined,
  { username, topic, action, acc }: AclQuestion,
): Promise<string | undefined> {
  const wanted = action === undefined ? Number(acc) : ACTIONS[action];
  const bits = Object.values(ACCESS).filter((bit) => ((wanted ?? 0) & bit) !== 0);
  if (!topic || bits.length === 0) return 'neither a topic nor what to do with it';
  const found = await findMqttUser(ctx, username, brokerId);
  if ('refusal' in found) return found.refusal;
  const { is_superuser, acls } = found.user;
  if (is_superuser || bits.every((bit) => isAllowed(acls, topic, bit))) return undefined;
  return 'no ACL allows this';
}
