import type { Context } from '../context.ts';
import { verifyMqttPassword } from '../crypto/mqtt-password.ts';
import { clientIdsOf } from './client-ids.ts';
import { findMqttUser } from './find-user.ts';
import type { UserQuestion } from './input.ts';

/**
 * Whether a user may connect: the password is correct, and the device does not belong to another broker.
 *
 * @param brokerId the broker that asks, if known
 * @returns why access is refused; undefined: it is allowed
 */
export async function checkUser(
  ctx: Context,
  brokerId: number | undefined,
  { username, password, client_id }: UserQuestion,
): Promise<string | undefined> {
  const found = await findMqttUser(ctx, username, brokerId);
  if ('refusal' in found) return found.refusal;
  if (!password || !(await verifyMqttPassword(password, found.user.password_hash))) return 'wrong password';
  if (client_id && !clientIdsOf(found.user).includes(client_id)) return 'the client id is not one of this user';
  return undefined;
}
