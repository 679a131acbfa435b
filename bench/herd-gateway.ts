import type { Instance } from './instances.ts';
import type { Answer, BenchDevice, BenchKey } from './requests.ts';

/** Lambda runs this many requests of an account simultaneously by default. */
const CONCURRENCY = 1_000;
/** API Gateway's reply above that limit. */
const THROTTLED: Answer = { statusCode: 503, headers: {}, body: '{"message":"Service Unavailable"}' };

/** Passes a device's registration to an instance, and returns the reply. */
export type Gateway = (device: BenchDevice) => Promise<Answer>;

/**
 * The gateway in front of the functions. It accepts as many requests as Lambda runs simultaneously. They wait for one of
 * the instances, as they would wait for a connection of a proxy's pool. It refuses the others.
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
    if (inside >= CONCURRENCY) return THROTTLED;
    inside++;
    const instance = free.pop() ?? (await new Promise<Instance>((resolve) => waiting.push(resolve)));
    try {
      return await instance.ask('registerOnce', { key, device });
    } finally {
      inside--;
      release(instance);
    }
  };
}
