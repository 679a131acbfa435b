import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { databaseToken } from '../../lib/database/token.ts';
import { PEPPER } from '../support/berth.ts';
import { type Authority, createAuthority } from '../support/certificates.ts';
import { type IamProxy, type LoginTried, startIamProxy } from '../support/iam-proxy.ts';
import { type Instance, startInstances } from '../support/instances.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';

/** It leads to this machine, but is not a spelling that Berth speaks to without TLS. */
const HOST = 'LOCALHOST';
const USER = 'berth_app';
const aws = {
  region: 'eu-central-1',
  accessKeyId: 'AKIAEXAMPLE',
  secretAccessKey: 'secret-access-key-of-the-tests',
  sessionToken: 'session/token+of=the==tests',
};

let postgres: OwnPostgres;
let authority: Authority;
let proxy: IamProxy;
let instance: Instance;
/** What the proxy says to a login that is right. */
let lets = true;

beforeAll(async () => {
  postgres = await startOwnPostgres();
  await postgres.sql(`create role ${USER} login`);
  await postgres.sql(`grant select, insert, update, delete on all tables in schema public to ${USER}`);
  // Whom the proxy has let in, the server lets in; the server has nobody else's password.
  await writeHba(`host all ${USER} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256`);
  authority = await createAuthority('Berth test CA');
  proxy = await startIamProxy(
    postgres.port,
    await authority.issue({ commonName: 'proxy', hosts: ['localhost'] }),
    (login) => lets && isToken(login),
  );
});
afterAll(async () => {
  await proxy.close();
  await postgres.remove();
});
afterEach(async () => {
  lets = true;
  await instance.stop();
});

/** A token for this user at this proxy, signed with these keys within the last 15 minutes. */
function isToken({ user, password }: LoginTried): boolean {
  const signedAt = new URL(`https://${password}`).searchParams.get('X-Amz-Date') ?? '';
  const date = new Date(signedAt.replace(/(....)(..)(..T..)(..)(..Z)/, '$1-$2-$3:$4:$5'));
  const isYoung = Math.abs(Date.now() - date.getTime()) < 15 * 60_000;
  return isYoung && password === databaseToken({ host: HOST, port: String(proxy.port), user, aws }, date);
}

async function start(env: Record<string, string> = {}): Promise<void> {
  proxy.logins.length = 0;
  [instance] = (await startInstances(1, {
    BERTH_PEPPER: PEPPER,
    DATABASE_URL: '',
    DATABASE_AUTH: 'iam',
    DATABASE_USER: USER,
    DATABASE_HOST: HOST,
    DATABASE_PORT: String(proxy.port),
    DATABASE_NAME: 'postgres',
    DATABASE_CA: authority.cert,
    DATABASE_PREPARE: 'false',
    AWS_REGION: aws.region,
    AWS_ACCESS_KEY_ID: aws.accessKeyId,
    AWS_SECRET_ACCESS_KEY: aws.secretAccessKey,
    AWS_SESSION_TOKEN: aws.sessionToken,
    ...env,
  })) as [Instance];
}

/** What a request without a right key gets: 401 when the database has been asked. */
const status = async (): Promise<number> => {
  const reply = await instance.call('POST /api/v1/device/register', {
    headers: { authorization: `Bearer prov_${crypto.randomUUID()}_${'a'.repeat(43)}` },
    body: { uuid: 'a', deviceName: 'a', deviceType: 'a', deviceApiKey: 'a' },
    ip: crypto.randomUUID(),
  });
  return reply.status;
};

it('IAM logs in with a token, over TLS, as the user that is named', async () => {
  await start();
  expect(await status()).toBe(401);
  expect(proxy.logins).toEqual([{ user: USER, password: expect.stringContaining('Action=connect') }]);
  const seen = await postgres.sql(`select usename from pg_stat_activity where application_name = 'berth'`);
  expect(seen).toEqual([{ usename: USER }]);
});

it('every connection has a token of its own', async () => {
  await start();
  expect(await status()).toBe(401);
  await sleep(1_100);
  await postgres.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = $1`, [USER]);
  expect(await status()).toBe(401);
  expect(new Set(proxy.logins.map(({ password }) => password)).size).toBe(2);
});

it('a token that is refused is followed by another one, and that is all', async () => {
  await start();
  lets = false;
  expect(await status()).toBe(503);
  expect(proxy.logins).toHaveLength(2);
  setTimeout(() => {
    lets = true;
  }, 0);
  expect(await status()).toBe(401);
});

it('a token that is not signed with the right key lets nobody in', async () => {
  await start({ AWS_SECRET_ACCESS_KEY: 'another' });
  expect(await status()).toBe(503);
});

it('a proxy whose certificate is not right never sees a token', async () => {
  await start({ DATABASE_CA: (await createAuthority('another')).cert });
  expect(await status()).toBeGreaterThanOrEqual(500);
  expect(proxy.logins).toEqual([]);
});

/** Has the server write the file itself, so that it is its own whoever it runs as. */
async function writeHba(text: string): Promise<void> {
  await postgres.sql(`copy (select regexp_split_to_table('${text}', '\\n')) to program 'cat > pg_hba.conf'`);
  await postgres.sql('select pg_reload_conf()');
}
