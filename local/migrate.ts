import { migrate } from '../lib/migrate.ts';

const databaseUrl = process.env.DATABASE_URL;
if (!databaseUrl) {
  console.error('DATABASE_URL is not set: DATABASE_URL=postgres://user:password@host:5432/berth npm run migrate');
  process.exit(2);
}
const applied = await migrate(databaseUrl, console.log);
console.log(applied.length === 0 ? 'Nothing to apply: the database is up to date.' : `${applied.length} applied.`);
