import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { anotherLogin, databaseLogin } from '../../lib/database/login.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { arnOf, type SecretsManager, startSecretsManager } from '../support/secrets-manager.ts';

/** The URL to log in with: from DATABASE_URL, a token, or a secret that rotates. */
let manager: SecretsManager;
const before = { ...process.env };
beforeAll(async () => {
  manager = await startSecretsManager();
});
afterAll(() => manager.close());
afterEach(() => {
  process.env = { ...before };
  reloadSettings();
});

const set = (env: Record<string, string>) => {
  process.env = { ...before, BERTH_PEPPER: 'p'.repeat(40), ...manager.env, ...env };
  if (!env.DATABASE_URL) delete process.env.DATABASE_URL;
  reloadSettings();
};
const soon = () => Date.now() + 5_000;

it('DATABASE_URL is used as it is, and there is no other', async () => {
  set({ DATABASE_URL: 'postgres://me:mine@db.example.com:5432/berth' });
  expect(await databaseLogin(soon())).toBe('postgres://me:mine@db.example.com:5432/berth');
  expect(await anotherLogin(soon(), ['postgres://me:mine@db.example.com:5432/berth'])).toBeUndefined();
});

it('DATABASE_AUTH=iam: a token as the password, encoded; two at most', async () => {
  set({ DATABASE_AUTH: 'iam', DATABASE_USER: 'berth_app', DATABASE_HOST: 'db.example.com', DATABASE_NAME: 'berth' });
  const login = new URL(await databaseLogin(soon()));
  expect([login.username, login.host, login.pathname]).toEqual(['berth_app', 'db.example.com:5432', '/berth']);
  expect(decodeURIComponent(login.password)).toContain('X-Amz-Signature=');
  expect(await anotherLogin(soon(), ['one'])).toContain('postgres://berth_app:');
  expect(await anotherLogin(soon(), ['one', 'two'])).toBeUndefined();
});

let names = 0;
/** A secret of its own for each test: the cache is the process's. */
let arn: string;
const secret = (fields: object) => JSON.stringify({ username: 'u', password: 'p', ...fields });
beforeEach(() => {
  arn = arnOf(`database-${names++}`);
});

it('a secret names host, port and database, or the settings do', async () => {
  manager.put(arn, secret({ password: 'p@ss/word', host: 'rds.example.com', port: 5433, dbname: 'other' }));
  set({ DATABASE_SECRET_ARN: arn, DATABASE_HOST: 'proxy.example.com', DATABASE_NAME: 'berth' });
  expect(await databaseLogin(soon())).toBe('postgres://u:p%40ss%2Fword@rds.example.com:5433/other');
  arn = arnOf('database-without-host');
  manager.put(arn, secret({}));
  set({ DATABASE_SECRET_ARN: arn, DATABASE_HOST: 'proxy.example.com', DATABASE_NAME: 'berth' });
  expect(await databaseLogin(soon())).toBe('postgres://u:p@proxy.example.com:5432/berth');
});

it.each([
  ['no JSON', 'password'],
  ['no username', secret({ username: '' })],
  ['no password', secret({ password: '' })],
  ['no host', secret({})],
])('a secret with %s is an error that does not quote it', async (_, value) => {
  manager.put(arn, value);
  set({ DATABASE_SECRET_ARN: arn });
  await expect(databaseLogin(soon())).rejects.toThrow('DATABASE_SECRET_ARN must name a secret that is JSON');
});

it('a host that is none is an error', async () => {
  manager.put(arn, secret({ host: 'a b' }));
  set({ DATABASE_SECRET_ARN: arn });
  await expect(databaseLogin(soon())).rejects.toThrow();
});

it('after a refusal: the current version if it is new, then the pending one, then none', async () => {
  const url = (password: string) => `postgres://u:${password}@h:5432/berth`;
  const version = (password: string) => secret({ password, host: 'h' });
  manager.put(arn, version('old'));
  set({ DATABASE_SECRET_ARN: arn, DATABASE_NAME: 'berth' });
  const first = await databaseLogin(soon());
  expect(first).toBe(url('old'));
  expect(await anotherLogin(soon(), [first]), 'no other version').toBeUndefined();
  manager.put(arn, version('next'), 'AWSPENDING');
  expect(await anotherLogin(soon(), [first]), 'rotation has begun').toBe(url('next'));
  expect(await anotherLogin(soon(), [first, url('next')]), 'both refused').toBeUndefined();
  manager.promote(arn);
  expect(await anotherLogin(soon(), [first]), 'rotation has ended').toBe(url('next'));
  expect(await databaseLogin(soon())).toBe(url('next'));
});
