import type { Context } from '../context.ts';
import { findMqttUser } from './find-user.ts';
import type { VhostQuestion } from './input.ts';

/**
 * Whether a user may enter a virtual host of RabbitMQ: into any, its topics are what binds it.
 *
 * @param brokerId the broker that asks, if it says so
 * @returns why not; undefined: it may
 */
export async function checkVhost(
  ctx: Context,
  brokerId: number | undefined,
  { username }: VhostQuestion,
): Promise<string | undefined> {
  const found = await findMqttUser(ctx, username, brokerId);
  return 'refusal' in found ? found.refusal : undefined;
}
