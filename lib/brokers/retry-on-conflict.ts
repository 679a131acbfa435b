import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { brokerChanging, brokerNameTaken, Problem } from '../errors.ts';

const MAX_ATTEMPTS = 40;

/**
 * Attempts a change of a broker until no other request changes the same in between: what the other
 * committed is visible to the next attempt. Of requests that collide one succeeds each time.
 *
 * @param attempt answers undefined when it found the row changed since it had looked
 * @throws Problem `broker-name-taken`; `broker-changing` when it doesn't come to an end
 */
export async function settled<T>(ctx: Context, attempt: () => Promise<T | undefined>): Promise<T> {
  for (let attempts = 1; attempts <= MAX_ATTEMPTS && Date.now() < ctx.deadline; attempts++) {
    try {
      const outcome = await attempt();
      if (outcome !== undefined) return outcome;
    } catch (error) {
      const { code, constraint_name } = error as { code?: unknown; constraint_name?: unknown };
      if (code !== '23505') throw error;
      if (constraint_name === 'mqtt_broker_config_name_key') throw new Problem(brokerNameTaken);
      // mqtt_broker_config_one_default: another request has made another broker the default.
      if (constraint_name !== 'mqtt_broker_config_one_default') throw error;
    }
    await sleep(Math.random() * 10);
  }
  throw new Problem(brokerChanging);
}
