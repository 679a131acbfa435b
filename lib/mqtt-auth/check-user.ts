import type { Context } from '../context.ts';
import { verifyMqttPassword } from '../crypto/mqtt-password.ts';
import { findMqttUser } from './find-user.ts';
import type { UserQuestion } from './input.ts';

/**
 * Whether a user may connect: the password is correct, the client id is one of its own, and the device does not belong to
 * another broker. A broker that sends no client id binds it itself (docs/brokers.md).
 *
 * @param brokerId the broker that asks, if known
 * @returns why access is refused; undefined: it is allowed
 */
export async function checkUser(
  ctx: Context,
  brokerId: number | undefined,
  { username, password, client_id, clientid }: UserQuestion,
): Promise<string | undefined> {
  const found = await findMqttUser(ctx, username, brokerId);
  if ('refusal' in found) return found.refusal;
  if (!password || !(await verifyMqttPassword(password, found.user.password_hash))) return 'wrong password';
  const own: unknown[] = found.user.client_ids;
  const isOwn = [client_id, clientid].every((id) => id === undefined || own.includes(id));
  return isOwn ? undefined : 'the client id is not one of this user';
}
