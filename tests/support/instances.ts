import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Answer, Call } from './api.ts';

const STOP_MS = 10_000;

/** `ms`: duration of the handler, without the time in the instance's queue. */
export type TimedAnswer = Answer & { ms: number };

/** An instance of the handlers: a thread with modules, settings and a database connection of its own. */
export type Instance = {
  /** Handles one call at a time, like a Lambda instance. */
  call(target: string, options?: Call): Promise<TimedAnswer>;
  stop(): Promise<void>;
};

/**
 * Starts `count` instances with the environment of this process, overridden by `env`.
 *
 * @returns instances whose calls reject when their thread ends
 */
export async function startInstances(count: number, env: Record<string, string> = {}): Promise<Instance[]> {
  const instances = Array.from({ length: count }, () => startInstance(env));
  await Promise.all(instances.map(({ ready }) => ready));
  return instances;
}

export async function stopInstances(instances: Instance[]): Promise<void> {
  await Promise.all(instances.map((instance) => instance.stop()));
}

type Waiting = { resolve: (answer: TimedAnswer) => void; reject: (error: Error) => void };

function startInstance(env: Record<string, string>): Instance & { ready: Promise<void> } {
  const worker = new Worker(new URL('instance-worker.ts', import.meta.url), { env: { ...process.env, ...env } });
  const waiting: Waiting[] = [];
  const fail = (error: Error) => {
    for (const { reject } of waiting.splice(0)) reject(error);
  };
  const ready = new Promise<void>((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
  });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  worker.on('error', fail);
  worker.once('exit', (code) => fail(new Error(`an instance ended with ${code}`)));
  worker.on('message', ({ answer, error }: { answer?: TimedAnswer; error?: Error }) => {
    if (answer) waiting.shift()?.resolve(answer);
    if (error) waiting.shift()?.reject(error);
  });
  return {
    ready,
    call: (target, options = {}) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        worker.postMessage({ target, options });
      }),
    stop: async () => {
      worker.postMessage('stop');
      const isStuck = await Promise.race([ended, sleep(STOP_MS, true, { ref: false })]);
      if (!isStuck) return;
      await worker.terminate();
      throw new Error('an instance did not end: something keeps its event loop busy');
    },
  };
}
