import { parseArgs } from 'node:util';
import { databaseTls } from '../lib/database/login.ts';
import { MigrationRefused, migrate } from '../lib/database/migrate.ts';

const { values } = parseArgs({ options: { 'allow-breaking': { type: 'boolean', default: false } } });
const databaseUrl = process.env.DATABASE_URL;
if (!databaseUrl) {
  console.error('DATABASE_URL is not set: DATABASE_URL=postgres://user:password@host:5432/berth npm run migrate');
  process.exit(2);
}
try {
  const applied = await migrate(databaseUrl, {
    log: console.log,
    allowBreaking: values['allow-breaking'],
    // RDS requires TLS with its own certificates. Elsewhere the URL decides (sslmode).
    ssl: new URL(databaseUrl).hostname.endsWith('.rds.amazonaws.com') && databaseTls(databaseUrl),
  });
  console.log(applied.length === 0 ? 'Nothing to apply: the database is up to date.' : `${applied.length} applied.`);
} catch (error) {
  if (!(error instanceof MigrationRefused)) throw error;
  console.error(error.message);
  process.exit(1);
}
