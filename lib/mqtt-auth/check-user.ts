import type { Context } from '../context.ts';
import { verifyMqttPassword } from '../crypto/mqtt-password.ts';
import { clientIdsOf } from './client-ids.ts';
import { findMqttUser } from './find-user.ts';
import type { UserQuestion } from './input.ts';

/**
 * Whether who connects may: the password is right, and the device is not another broker's.
 *
 * @param brokerId the broker that asks, if it says so
 * @returns why not; undefined: it may
 */
export async function checkUser(
  ctx: Context,
  brokerId: number | undefined,
  { username, password, client_id }: UserQuestion,
): Promise<string | undefined> {
  const found = await findMqttUser(ctx, username, brokerId);
  if ('refusal' in found) return found.refusal;
  if (!password || !(await verifyMqttPassword(password, found.user.password_hash))) return 'wrong password';
  if (client_id && !clientIdsOf(found.user).includes(client_id)) return 'a client id that is not its own';
  return undefined;
}
