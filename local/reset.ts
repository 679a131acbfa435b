import fs from 'node:fs';
import path from 'node:path';
import { runProgram, UserError } from '../tools/user-error.ts';
import { runningServer } from './postgres.ts';
import { dataDirInTmp } from './postgres-home.ts';
import { DATA_DIR, runningStart, STATE_DIR } from './state.ts';

await runProgram(() => {
  reset();
  console.log('All local data is deleted. The next `npm start` creates it anew.');
  if (process.env.DATABASE_URL) console.log('The database of DATABASE_URL is unchanged.');
});

/** Deletes everything that `npm start` keeps, including data outside the clone. */
function reset(): void {
  const elsewhere = dataDirInTmp(DATA_DIR);
  const start = runningStart();
  if (start !== undefined)
    throw new UserError(`\`npm start\` is running (process ${start}). Stop it with Ctrl-C first.`);
  for (const dataDir of [DATA_DIR, path.join(elsewhere, path.basename(DATA_DIR))]) {
    const pid = runningServer(dataDir);
    if (pid !== undefined)
      throw new UserError(`PostgreSQL still uses ${dataDir} (process ${pid}). Try again in a moment.`);
  }
  try {
    for (const dir of [STATE_DIR, elsewhere]) fs.rmSync(dir, { recursive: true, force: true });
  } catch (error) {
    throw new UserError(
      `Cannot delete everything (${(error as Error).message}). Try again as the user who ran \`npm start\`.`,
    );
  }
}
