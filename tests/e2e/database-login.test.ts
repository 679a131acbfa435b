import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { databaseToken } from '../../lib/database/token.ts';
import { newDevice, PEPPER, register, unknownKey } from '../support/berth.ts';
import { type Authority, createAuthority } from '../support/certificates.ts';
import { type IamProxy, type LoginAttempt, startIamProxy } from '../support/iam-proxy.ts';
import { type Instance, startInstances } from '../support/instances.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';

/** Resolves to this machine, but is not a name for which Berth skips TLS. */
const HOST = 'LOCALHOST';
const USER = 'berth_app';
const MQTT_AUTH_USER = 'berth_mqtt_auth';
const BROKER_SECRET = 'secret-of-the-brokers';
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
/** Whether the proxy accepts valid logins. */
let isAccepting = true;

beforeAll(async () => {
  postgres = await startOwnPostgres();
  await postgres.sql('create role rds_iam');
  await migrate(postgres.url, { appUser: USER, mqttAuthUser: MQTT_AUTH_USER });
  // The server trusts who may log in with a token, because the proxy decides on these logins.
  await postgres.writeFile(
    'pg_hba.conf',
    'host all +rds_iam 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256',
  );
  await postgres.sql('select pg_reload_conf()');
  authority = await createAuthority('Berth test CA');
  proxy = await startIamProxy(
    postgres.port,
    await authority.issue({ commonName: 'proxy', hosts: ['localhost'] }),
    (login) => isAccepting && isToken(login),
  );
});
afterAll(async () => {
  await proxy.close();
  await postgres.remove();
});
afterEach(async () => {
  isAccepting = true;
  await instance.stop();
});

/** Whether the password is a token for this user and proxy, signed with these keys less than 15 minutes ago. */
function isToken({ user, password }: LoginAttempt): boolean {
  const signedAt = new URL(`https://${password}`).searchParams.get('X-Amz-Date') ?? '';
  const date = new Date(signedAt.replace(/(....)(..)(..T..)(..)(..Z)/, '$1-$2-$3:$4:$5'));
  const isValid = Math.abs(Date.now() - date.getTime()) < 15 * 60_000;
  return isValid && password === databaseToken({ host: HOST, port: String(proxy.port), user, aws }, date);
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

/** The status of a registration with an unknown key: 401 if the database was reached. */
const status = async () => (await register(unknownKey(), newDevice(), { ip: randomUUID() }, instance.call)).status;

it('DATABASE_AUTH=iam logs in over TLS as DATABASE_USER, with a token', async () => {
  await start();
  expect(await status()).toBe(401);
  expect(proxy.logins).toEqual([{ user: USER, password: expect.stringContaining('Action=connect') }]);
  const seen = await postgres.sql(`select usename from pg_stat_activity where application_name = 'berth'`);
  expect(seen).toEqual([{ usename: USER }]);
});

it('mqtt-auth logs in with a token of its own role, and answers brokers', async () => {
  await start({ DATABASE_USER: MQTT_AUTH_USER, BROKER_AUTH_SECRET_HASH: sha256Hex(BROKER_SECRET) });
  const headers = { authorization: `Bearer ${BROKER_SECRET}` };
  const body = { username: 'device_unknown', password: 'any' };
  const answer = await instance.call('POST /api/v1/mqtt/auth/user', { headers, body });
  expect(answer).toMatchObject({ status: 200, body: { result: 'deny' } });
  expect(proxy.logins).toEqual([{ user: MQTT_AUTH_USER, password: expect.stringContaining('Action=connect') }]);
  const seen = await postgres.sql(`select usename from pg_stat_activity where application_name = 'berth'`);
  expect(seen).toEqual([{ usename: MQTT_AUTH_USER }]);
});

it('each new connection uses a new token', async () => {
  await start();
  expect(await status()).toBe(401);
  await sleep(1_100);
  await postgres.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = $1`, [USER]);
  expect(await status()).toBe(401);
  expect(new Set(proxy.logins.map(({ password }) => password)).size).toBe(2);
});

it('503 after exactly 2 tokens when the proxy refuses them; 401 from the database once it accepts', async () => {
  await start();
  isAccepting = false;
  expect(await status()).toBe(503);
  expect(proxy.logins).toHaveLength(2);
  setTimeout(() => {
    isAccepting = true;
  }, 0);
  expect(await status()).toBe(401);
});

it('503: a token that is signed with another key', async () => {
  await start({ AWS_SECRET_ACCESS_KEY: 'another' });
  expect(await status()).toBe(503);
});

it('5xx: the proxy’s certificate is not trusted, and it receives no token', async () => {
  await start({ DATABASE_CA: (await createAuthority('another')).cert });
  expect(await status()).toBeGreaterThanOrEqual(500);
  expect(proxy.logins).toEqual([]);
});
