import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startOffline } from '../local/offline.ts';
import { freePort } from '../local/ports.ts';
import { cloneProject } from '../tests/support/stack.ts';
import { handlerEnv } from './database.ts';

export type HttpService = { url: string; stop(): Promise<void> };

/** The functions under serverless-offline, as `npm start` runs them, in a copy of the project. */
export async function startHttpService(databaseUrl: string): Promise<HttpService> {
  const clone = cloneProject();
  const logs = mkdtempSync(path.join(tmpdir(), 'berth-bench-'));
  const port = await freePort();
  const env = { ...handlerEnv(databaseUrl), BERTH_STAGE: 'local', AWS_REGION: 'eu-central-1' };
  const logFile = path.join(logs, 'offline.log');
  const offline = await startOffline({ root: clone.dir, port, env, logFile, say: () => {} });
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      await offline.stop();
      clone.remove();
      rmSync(logs, { recursive: true, force: true });
    },
  };
}
