import pg from 'pg';
import { compareFingerprint, takeFingerprint } from './adoption-fingerprint.ts';
import { lookAround } from './adoption-look.ts';
import { describeError, UserError } from './user-error.ts';

const USAGE = `DATABASE_URL=postgres://… npm run adoption -- look               what a legacy database holds; reads only
DATABASE_URL=postgres://… npm run adoption -- fingerprint FILE   writes row counts and a hash of every legacy column
DATABASE_URL=postgres://… npm run adoption -- compare FILE       says what of that has changed since`;

/** Each answers the lines to print, and whether all is well. docs/adoption.md has them in their places. */
const VERBS = { look: lookAround, fingerprint: takeFingerprint, compare: compareFingerprint };

async function adoption([verb = '', file = '']: string[], databaseUrl: string | undefined): Promise<boolean> {
  if (!databaseUrl || !Object.hasOwn(VERBS, verb) || (verb !== 'look' && !file)) throw new UserError(USAGE);
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {});
  await client.connect();
  try {
    const { lines, isWell } = await VERBS[verb as keyof typeof VERBS](client, file);
    console.log(lines.join('\n'));
    return isWell;
  } finally {
    await client.end();
  }
}

try {
  process.exitCode = (await adoption(process.argv.slice(2), process.env.DATABASE_URL)) ? 0 : 1;
} catch (error) {
  console.error(describeError(error));
  process.exitCode = 2;
}
