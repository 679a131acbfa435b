import { databaseTls } from '../lib/database/login.ts';
import { MigrationRefused, migrate } from '../lib/database/migrate.ts';
import { databaseUrl, withDatabase } from './database-url.ts';
import { runProgram, UserError } from './user-error.ts';

const USAGE = 'npm run migrate [-- --allow-breaking]';

/** `DATABASE_URL=… npm run migrate` applies the migrations that the database does not have yet. */
async function applyMigrations(args: string[]): Promise<void> {
  const allowBreaking = args.includes('--allow-breaking');
  if (args.some((arg) => arg !== '--allow-breaking')) throw new UserError(`Usage: ${USAGE}`);
  const applied = await withDatabase(databaseUrl(USAGE), (url) =>
    migrate(url, {
      log: console.log,
      allowBreaking,
      // RDS requires TLS with its own certificates. Elsewhere the URL decides (sslmode).
      ssl: new URL(url).hostname.endsWith('.rds.amazonaws.com') && databaseTls(url),
    }),
  ).catch((error) => {
    throw error instanceof MigrationRefused ? new UserError(error.message) : error;
  });
  console.log(applied.length === 0 ? 'Nothing to apply: the database is up to date.' : `${applied.length} applied.`);
}

await runProgram(() => applyMigrations(process.argv.slice(2)));
