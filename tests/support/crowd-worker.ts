import { parentPort, workerData } from 'node:worker_threads';
import { closeDatabase } from '../../lib/db.ts';
import { type Answer, call } from './api.ts';
import type { CrowdCall } from './crowd.ts';

const answers: Answer[] = [];
for (const { target, options } of workerData as CrowdCall[]) answers.push(await call(target, options));
await closeDatabase();
parentPort?.postMessage(answers);
