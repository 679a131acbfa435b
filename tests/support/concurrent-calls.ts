import type { Answer, Call } from './api.ts';
import { type Instance, startInstances, stopInstances } from './instances.ts';

export type ConcurrentCall = { target: string; options: Call };

/**
 * Makes the calls concurrently, spread over `count` instances of the handlers. Each instance handles one call
 * at a time; call i goes to instance i modulo `count`.
 */
export async function callConcurrently(calls: ConcurrentCall[], count = 16): Promise<Answer[]> {
  const instances = await startInstances(count);
  try {
    return await Promise.all(
      calls.map(({ target, options }, i) => (instances[i % count] as Instance).call(target, options)),
    );
  } finally {
    await stopInstances(instances);
  }
}
