import { spawnSync } from 'node:child_process';
import { runProgram, UserError } from '../tools/user-error.ts';
import { readLocalFile } from './state.ts';

/** `npm run psql` opens the local stack's database. Arguments are those of psql: `npm run -s psql -- -c 'select 1'`. */
await runProgram(() => {
  const { databaseUrl } = readLocalFile();
  const { status, error } = spawnSync('psql', [databaseUrl, ...process.argv.slice(2)], { stdio: 'inherit' });
  if (error) throw new UserError(`psql is not installed. Use another client with this URL:\n${databaseUrl}`);
  return status ?? 1;
});
