import pg from 'pg';
import { compareFingerprint, takeFingerprint } from './adoption-fingerprint.ts';
import { reportLegacyDatabase } from './adoption-report.ts';
import { databaseUrl, withDatabase } from './database-url.ts';
import { runProgram, UserError } from './user-error.ts';

const USAGE = `DATABASE_URL=postgres://… npm run adoption -- look               what a legacy database contains; reads only
DATABASE_URL=postgres://… npm run adoption -- fingerprint FILE   writes row counts and a hash of every legacy column
DATABASE_URL=postgres://… npm run adoption -- compare FILE       says what has changed since the fingerprint`;

/** Each returns the lines to print, and whether all is well. docs/adoption.md says when to use which. */
const VERBS = { look: reportLegacyDatabase, fingerprint: takeFingerprint, compare: compareFingerprint };

async function adoption([verb = '', file = '']: string[]): Promise<number> {
  if (!Object.hasOwn(VERBS, verb) || (verb !== 'look' && !file)) throw new UserError(USAGE);
  return withDatabase(databaseUrl(`npm run adoption -- ${verb} ${file}`.trim()), async (url) => {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
    client.on('error', () => {});
    await client.connect();
    try {
      const { lines, isOk } = await VERBS[verb as keyof typeof VERBS](client, file);
      console.log(lines.join('\n'));
      return isOk ? 0 : 1;
    } finally {
      await client.end();
    }
  });
}

await runProgram(() => adoption(process.argv.slice(2)), 2);
