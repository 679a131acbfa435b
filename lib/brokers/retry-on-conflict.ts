import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../context.ts';
import { violates } from '../database/violates.ts';
import { brokerChanging, brokerNameTaken, Problem } from '../errors.ts';

const MAX_ATTEMPTS = 40;

/**
 * Repeats a change of a broker that conflicts with another request. The next attempt sees what the other request
 * committed, and one of the conflicting requests always succeeds.
 *
 * @param attempt returns undefined when the row has changed since it was read
 * @throws Problem `broker-name-taken`; `broker-changing` after the last attempt
 */
export async function retryOnConflict<T>(ctx: Context, attempt: () => Promise<T | undefined>): Promise<T> {
  for (let attempts = 1; attempts <= MAX_ATTEMPTS && Date.now() < ctx.deadline; attempts++) {
    try {
      const outcome = await attempt();
      if (outcome !== undefined) return outcome;
    } catch (error) {
      if (violates(error, 'unique', 'mqtt_broker_config_name_key')) throw new Problem(brokerNameTaken);
      // Another request has made another broker the default.
      if (!violates(error, 'unique', 'mqtt_broker_config_one_default')) throw error;
    }
    await sleep(Math.random() * 10);
  }
  throw new Problem(brokerChanging);
}
