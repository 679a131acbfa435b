import { parentPort } from 'node:worker_threads';
import { closeDatabase } from '../../lib/database/db.ts';
import { type Call, call, loadAll } from './api.ts';

type Message = 'stop' | { target: string; options: Call };

await loadAll();
let queue = Promise.resolve();
parentPort?.on('message', (message: Message) => {
  queue = queue.then(() => (message === 'stop' ? stop() : answer(message)));
});
parentPort?.postMessage('ready');

async function answer({ target, options }: Exclude<Message, 'stop'>): Promise<void> {
  try {
    const started = Date.now();
    const answer = await call(target, options);
    parentPort?.postMessage({ answer: { ...answer, ms: Date.now() - started } });
  } catch (error) {
    parentPort?.postMessage({ error });
  }
}

async function stop(): Promise<void> {
  await closeDatabase();
  parentPort?.close();
}
