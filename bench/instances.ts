import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Orders } from './instance.ts';

const PROGRAM = fileURLToPath(new URL('instance.ts', import.meta.url));

/** A process with modules, settings and a database connection of its own, like a Lambda instance. */
export type Instance = {
  /** Carries out an order. Rejects when the order fails or the process ends. */
  ask<Kind extends keyof Orders>(
    kind: Kind,
    ...order: Parameters<Orders[Kind]>
  ): Promise<Awaited<ReturnType<Orders[Kind]>>>;
  stop(): Promise<void>;
};

/**
 * Starts an instance and waits until it is ready. Its log is discarded.
 * @param root of the checkout whose functions it calls
 * @param name the function that it has loaded when it is ready
 */
export async function startInstance(root: string, name: string, env: Record<string, string>): Promise<Instance> {
  const child = fork(PROGRAM, {
    env: { ...process.env, ...env, BENCH_ROOT: root },
    execArgv: ['--expose-gc'],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let lastWords = '';
  child.stderr?.on('data', (data) => {
    lastWords = (lastWords + data).slice(-2_000);
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  child.on('message', ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
    if (error === undefined) waiting.get(id)?.resolve(result);
    else waiting.get(id)?.reject(new Error(error));
    waiting.delete(id);
  });
  child.once('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`an instance ended with ${code}: ${lastWords}`));
  });
  let orders = 0;
  const ask = (kind: string, ...order: unknown[]) => {
    const id = orders++;
    const answer = Promise.withResolvers<unknown>();
    waiting.set(id, answer);
    child.send({ id, kind, order });
    return answer.promise;
  };
  await ask('ready', name);
  return {
    ask: ask as Instance['ask'],
    stop: async () => {
      if (!child.connected) return;
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
