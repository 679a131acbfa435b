import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import pkg from '../../package.json' with { type: 'json' };
import { databaseUrl } from '../../tools/database-url.ts';
import { createDatabase, urlAs } from '../support/postgres.ts';

const ROOT = new URL('../../', import.meta.url).pathname;
/** The scripts that take DATABASE_URL, with arguments that they accept. `npm start`: tests/e2e/own-database.test.ts. */
const ARGS: Record<string, string[]> = {
  migrate: [],
  adoption: ['look'],
  'mosquitto-files': [tmpdir()],
  'probe-user': [],
};
const programOf = (script: string) => pkg.scripts[script as keyof typeof pkg.scripts].replace(/^node /, '');

let empty: Awaited<ReturnType<typeof createDatabase>>;

beforeAll(async () => {
  empty = await createDatabase(inject('postgresUrl'));
});
afterAll(() => empty.drop());

it('these are all the programs that read DATABASE_URL', () => {
  const reading = readdirSync(`${ROOT}tools`).filter((name) =>
    /\bDATABASE_URL\b[^=…]*$/m.test(readFileSync(`${ROOT}tools/${name}`, 'utf8').replace(/\/\*\*.*?\*\//gs, '')),
  );
  expect(reading).toEqual(['database-url.ts']);
  const using = readdirSync(`${ROOT}tools`).filter((name) =>
    readFileSync(`${ROOT}tools/${name}`, 'utf8').includes(`from './database-url.ts'`),
  );
  expect(using.map((name) => `tools/${name}`)).toEqual(Object.keys(ARGS).map(programOf).sort());
});

it.each(['garbage', 'mysql://user:password@host/database', 'postgres://user:pass/word@host:port/d'])(
  'refuses %s',
  (url) => {
    expect(() => databaseUrl('npm run migrate', url)).toThrow(/^DATABASE_URL must look like postgres:.*[^\n]$/);
  },
);

it('refuses a variable that is not set', () => {
  expect(() => databaseUrl('npm run migrate', '')).toThrow(
    /^DATABASE_URL is not set: DATABASE_URL=.* npm run migrate$/,
  );
});

/** What a script prints when it fails. */
function failure(script: string, url: string): { stdout: string; stderr: string } {
  const env = { ...process.env, DATABASE_URL: url };
  const args = [programOf(script), ...(ARGS[script] as string[])];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, env, encoding: 'utf8' });
  expect(status, stdout).toBeGreaterThan(0);
  return { stdout, stderr };
}
const changed = (part: Partial<URL>) => Object.assign(new URL(empty.url), part).href;

describe.each(Object.keys(ARGS))('DATABASE_URL=… npm run %s says in one sentence', (script) => {
  it('that the URL is garbage', () => {
    const stderr = expect.stringMatching(/^DATABASE_URL must look like postgres:.*\n$/);
    expect(failure(script, 'garbage')).toEqual({ stdout: '', stderr });
  });

  it('that the password is wrong', () => {
    const stderr = expect.stringMatching(/^Cannot connect to DATABASE_URL \(password authentication failed .*\n$/);
    expect(failure(script, changed({ password: 'wrong' }))).toEqual({ stdout: '', stderr });
  });
});

it.each([
  ['no server answers', () => 'postgres://user:password@127.0.0.1:1/d', /^Cannot connect to .* \(.*REFUSED.*\n$/],
  [
    'there is no such database',
    () => changed({ pathname: '/none' }),
    /^Cannot connect to .* \(.*"none" does not exist.*\n$/,
  ],
  ['it has no tables of Berth', () => empty.url, /^Is DATABASE_URL Berth's database, .*"mqtt_.*\n$/],
])('by pg and by postgres.js: %s', (_, url, expected) => {
  expect(failure('probe-user', url()).stderr).toMatch(expected);
  expect(failure('mosquitto-files', url()).stderr).toMatch(expected);
});

it('npm run migrate says which statement a role may not execute', () => {
  const { stdout, stderr } = failure('migrate', urlAs('berth_mqtt_auth', empty.url));
  expect(stderr).toMatch(/^The role berth_mqtt_auth may not do this \(permission denied .*\n$/);
  expect(stdout).toMatch(/^Error executing:\nCREATE TABLE /);
});
