import type { Context } from '../context.ts';
import { findMqttUser } from './find-user.ts';
import type { VhostQuestion } from './input.ts';

/**
 * Whether a user may enter a virtual host of RabbitMQ. Every known user may enter every virtual host; ACLs limit its topics.
 *
 * @param brokerId the broker that asks, if known
 * @returns why access is refused; undefined: it is allowed
 */
export async function checkVhost(
  ctx: Context,
  brokerId: number | undefined,
  { username }: VhostQuestion,
): Promise<string | undefined> {
  const found = await findMqttUser(ctx, username, brokerId);
  return 'refusal' in found ? found.refusal : undefined;
}
