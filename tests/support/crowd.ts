import type { Answer, Call } from './api.ts';
import { startInstances } from './instances.ts';

export type CrowdCall = { target: string; options: Call };

/**
 * Makes the calls at the same time from several instances of the handlers. One instance answers one call
 * after the other; call i goes to instance i modulo their number.
 */
export async function crowd(calls: CrowdCall[], count = 16): Promise<Answer[]> {
  const instances = await startInstances(count);
  try {
    return await Promise.all(
      calls.map(({ target, options }, i) => (instances[i % count] as (typeof instances)[0]).call(target, options)),
    );
  } finally {
    await Promise.all(instances.map((instance) => instance.stop()));
  }
}
