import fs from 'node:fs';
import path from 'node:path';
import { describeError, UserError } from '../tools/user-error.ts';
import { runningServer } from './postgres.ts';
import { dataDirInTmp } from './postgres-home.ts';
import { DATA_DIR, runningStart, STATE_DIR } from './state.ts';

try {
  reset();
  console.log('The local data is gone: the next `npm start` begins afresh.');
  if (process.env.DATABASE_URL) console.log('The database of DATABASE_URL is left as it is.');
} catch (error) {
  console.error(describeError(error));
  process.exitCode = 1;
}

/** Removes all that `npm start` keeps, also where it had to keep the data elsewhere. */
function reset(): void {
  const elsewhere = dataDirInTmp(DATA_DIR);
  const start = runningStart();
  if (start !== undefined)
    throw new UserError(`\`npm start\` is running (process ${start}): stop it with Ctrl-C first.`);
  for (const dataDir of [DATA_DIR, path.join(elsewhere, path.basename(DATA_DIR))]) {
    const pid = runningServer(dataDir);
    if (pid !== undefined)
      throw new UserError(`PostgreSQL still uses ${dataDir} (process ${pid}): repeat this in a moment.`);
  }
  try {
    for (const dir of [STATE_DIR, elsewhere]) fs.rmSync(dir, { recursive: true, force: true });
  } catch (error) {
    throw new UserError(
      `Not all of it could be removed (${(error as Error).message}): repeat it as the user who started it.`,
    );
  }
}
