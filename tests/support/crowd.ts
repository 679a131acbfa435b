import { Worker } from 'node:worker_threads';
import type { Answer, Call } from './api.ts';

export type CrowdCall = { target: string; options: Call };

/**
 * Makes the calls at the same time from several instances of the handlers: threads with modules,
 * settings and a database connection of their own, as Lambda has them. One instance answers one call
 * after the other; call i goes to instance i modulo their number.
 */
export async function crowd(calls: CrowdCall[], instances = 16): Promise<Answer[]> {
  const answers: Answer[] = new Array(calls.length);
  const shares = Array.from({ length: instances }, (_, n) => calls.map((_, i) => i).filter((i) => i % instances === n));
  await Promise.all(
    shares.map(async (indexes) => {
      const share = await callInWorker(indexes.map((i) => calls[i] as CrowdCall));
      for (const [n, i] of indexes.entries()) answers[i] = share[n] as Answer;
    }),
  );
  return answers;
}

function callInWorker(calls: CrowdCall[]): Promise<Answer[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('crowd-worker.ts', import.meta.url), {
      workerData: calls,
      env: { ...process.env },
    });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`an instance ended with ${code}`)));
  });
}
