import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Order } from './instance.ts';

const PROGRAM = fileURLToPath(new URL('instance.ts', import.meta.url));

/** A process of its own with modules, settings and a database connection of its own, as a Lambda instance has. */
export type Instance = {
  /** Carries out one order after the other. Rejects when an order fails or the process ends. */
  ask<T>(order: Order): Promise<T>;
  stop(): Promise<void>;
};

/** Starts `count` instances and waits until they are ready. What they print (their log) goes nowhere. */
export async function startInstances(count: number, env: Record<string, string>): Promise<Instance[]> {
  return Promise.all(Array.from({ length: count }, () => startInstance(env)));
}

async function startInstance(env: Record<string, string>): Promise<Instance> {
  const child = fork(PROGRAM, {
    env: { ...process.env, ...env },
    execArgv: ['--expose-gc'],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let lastWords = '';
  child.stderr?.on('data', (data) => {
    lastWords = (lastWords + data).slice(-2_000);
  });
  const waiting: PromiseWithResolvers<unknown>[] = [];
  child.on('message', ({ result, error }: { result?: unknown; error?: string }) => {
    const next = waiting.shift();
    if (error === undefined) next?.resolve(result);
    else next?.reject(new Error(error));
  });
  child.once('exit', (code) => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`an instance ended with ${code}: ${lastWords}`));
  });
  const ask = <T>(order: Order) => {
    const answer = Promise.withResolvers<unknown>();
    waiting.push(answer);
    child.send(order);
    return answer.promise as Promise<T>;
  };
  await ask({ kind: 'ready' });
  return {
    ask,
    stop: async () => {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
