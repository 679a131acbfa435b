import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { runProgram, UserError } from '../tools/user-error.ts';
import { runningServer } from './postgres.ts';
import { dataDirInTmp } from './postgres-home.ts';
import { DATA_DIR, runningStart, STATE_DIR } from './state.ts';

await runProgram(async () => {
  if (!(await isConfirmed(process.argv.slice(2)))) throw new UserError('Nothing is deleted.');
  reset();
  console.log('All local data is deleted. The next `npm start` creates it anew.');
  if (process.env.DATABASE_URL) console.log('The database of DATABASE_URL is unchanged.');
});

/** With `--yes`, or after a question. */
async function isConfirmed(args: string[]): Promise<boolean> {
  if (args.includes('--yes')) return true;
  if (!process.stdin.isTTY)
    throw new UserError('Nobody can confirm this here: `npm run reset -- --yes` deletes all local data.');
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question(`Delete all local data: devices, keys and secrets in ${STATE_DIR}? [y/N] `);
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

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
