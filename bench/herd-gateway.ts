import type { Instance } from './instances.ts';
import type { Answer, BenchDevice, BenchKey } from './requests.ts';

/** Lambda runs as many requests of an account at once, unless it is asked for more. */
const MOST_AT_ONCE = 1_000;
/** Who finds no place is told so by API Gateway, not by a handler. */
const THROTTLED: Answer = { statusCode: 503, headers: {}, body: '{"message":"Service Unavailable"}' };

/** Brings a device's registration to an instance, and its answer back. */
export type Gateway = (device: BenchDevice) => Promise<Answer>;

/**
 * What stands before the functions: as many requests as Lambda runs at once are let in, and wait for one of the
 * instances (as they would wait for a connection of a proxy's pool); others are turned away.
 */
export function startGateway(instances: Instance[], key: BenchKey): Gateway {
  const free = [...instances];
  const waiting: ((instance: Instance) => void)[] = [];
  let inside = 0;
  const release = (instance: Instance) => {
    const next = waiting.shift();
    if (next) next(instance);
    else free.push(instance);
  };
  return async (device) => {
    if (inside >= MOST_AT_ONCE) return THROTTLED;
    inside++;
    const instance = free.pop() ?? (await new Promise<Instance>((resolve) => waiting.push(resolve)));
    try {
      return await instance.ask<Answer>({ kind: 'registerOnce', key, device });
    } finally {
      inside--;
      release(instance);
    }
  };
}
