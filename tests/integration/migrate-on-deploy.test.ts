import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { handler } from '../../functions/migrate.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { log } from '../../lib/log.ts';
import { migrationHashes } from '../../tools/release-bundle.ts';
import { call, lambdaContext } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';
import { createDatabase } from '../support/postgres.ts';
import { arnOf, startSecretsManager } from '../support/secrets-manager.ts';
import { serve } from '../support/serve.ts';

const MIGRATIONS = Object.keys(migrationHashes(fileURLToPath(new URL('../..', import.meta.url))));
afterEach(() => {
  for (const name of ['DATABASE_APP_USER', 'DATABASE_SECRET_ARN', 'DATABASE_HOST', 'DATABASE_PORT', 'DATABASE_NAME']) {
    delete process.env[name];
  }
  setEnv({});
  vi.restoreAllMocks();
});

/** Creates an empty database and configures the handlers of this process for it. */
async function emptyDatabase(): Promise<pg.Client> {
  const database = await createDatabase(inject('postgresUrl'));
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  onTestFinished(async () => {
    await client.end();
    await database.drop();
  });
  setEnv({ DATABASE_URL: database.url });
  return client;
}

type CloudFormation = {
  url: string;
  /** The accepted PUT requests. */
  answers: { body: Record<string, unknown>; contentType: string | undefined; bytes: number }[];
};

/** Receives the result of a custom resource, like CloudFormation. The first `refusals` requests get 503. */
async function startCloudFormation(refusals = 0): Promise<CloudFormation> {
  const answers: CloudFormation['answers'] = [];
  let refused = 0;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    if (request.method !== 'PUT' || refused++ < refusals) return response.writeHead(503).end();
    answers.push({ body: JSON.parse(text), contentType: request.headers['content-type'], bytes: text.length });
    response.end();
  });
  const { port, close } = await serve(server);
  onTestFinished(close);
  return { url: `http://127.0.0.1:${port}/answer?signature=x`, answers };
}

/** Sends the event of CloudFormation. @returns the result that the function reports */
async function deploy(
  RequestType: 'Create' | 'Update' | 'Delete',
  {
    properties = {},
    remainingMs = 60_000,
    refusals,
  }: { properties?: object; remainingMs?: number; refusals?: number } = {},
) {
  const { url, answers } = await startCloudFormation(refusals);
  const event = {
    RequestType,
    ResponseURL: url,
    ServiceToken: 'arn:aws:lambda:eu-central-1:123456789012:function:migrate',
    StackId: 'arn:aws:cloudformation:stack/berth/1',
    RequestId: 'request-1',
    LogicalResourceId: 'Migrations',
    ResourceType: 'Custom::Migrations',
    ResourceProperties: { ServiceToken: 'arn', Hash: 'x', ...properties },
    ...(RequestType === 'Create' ? {} : { PhysicalResourceId: 'berth-migrations' }),
  };
  await handler(event as never, lambdaContext(remainingMs));
  expect(answers).toHaveLength(1);
  const [{ body, contentType, bytes } = { body: {}, contentType: '', bytes: 0 }] = answers;
  // The URL is signed for a request without content type; CloudFormation accepts at most 4 KB.
  expect(contentType).toBeUndefined();
  expect(bytes).toBeLessThan(4_096);
  expect(body).toMatchObject({
    PhysicalResourceId: 'berth-migrations',
    StackId: event.StackId,
    RequestId: event.RequestId,
    LogicalResourceId: event.LogicalResourceId,
  });
  return body;
}

const tables = async (client: pg.Client): Promise<string[]> =>
  (await client.query(`select tablename from pg_tables where schemaname = 'public' order by 1`)).rows.map(
    ({ tablename }) => tablename,
  );

describe('as a custom resource', () => {
  it('SUCCESS: applies and logs each migration; the next deployment applies none', async () => {
    const client = await emptyDatabase();
    const lines = vi.spyOn(log, 'info');
    expect(await deploy('Create')).toMatchObject({ Status: 'SUCCESS' });
    expect(lines.mock.calls.map(([, extra]) => (extra as unknown as { line: string }).line)).toEqual(
      MIGRATIONS.map((name) => `applied ${name}`),
    );
    expect(await tables(client)).toContain('bulk_assign_jobs');
    lines.mockClear();
    expect(await deploy('Update')).toMatchObject({ Status: 'SUCCESS' });
    expect(lines).not.toHaveBeenCalled();
  });

  it('SUCCESS without a change: a rollback whose hash is that of other migrations', async () => {
    const client = await emptyDatabase();
    expect(await deploy('Update', { properties: { hash: '0'.repeat(64) } })).toMatchObject({ Status: 'SUCCESS' });
    expect(await tables(client)).toEqual([]);
    const hash = createRequire(import.meta.url)('../../infra/migrations-hash.cjs')();
    expect(await deploy('Update', { properties: { hash } })).toMatchObject({ Status: 'SUCCESS' });
    expect(await tables(client)).toContain('devices');
  });

  it('SUCCESS: reports the result again after two refused attempts', async () => {
    await emptyDatabase();
    expect(await deploy('Create', { refusals: 2 })).toMatchObject({ Status: 'SUCCESS' });
  });

  it('SUCCESS: Delete, without a connection to the database', async () => {
    setEnv({ DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/berth' });
    expect(await deploy('Delete')).toMatchObject({ Status: 'SUCCESS' });
  });

  it('FAILED with the message of Postgres, and no migration is applied', async () => {
    const client = await emptyDatabase();
    await client.query('create table bulk_assign_jobs (id integer primary key)');
    expect(await deploy('Create')).toMatchObject({ Status: 'FAILED', Reason: 'column "state" does not exist' });
    expect(await tables(client)).toEqual(['berth_migrations', 'bulk_assign_jobs']);
    expect((await client.query('select from berth_migrations')).rowCount).toBe(0);
  });

  it.each<[string, (url: URL) => Partial<URL>, RegExp]>([
    ['an unreachable address', () => ({ port: '1' }), /ECONNREFUSED/],
    ['a wrong password', () => ({ password: 'pass/word-of-the-owner' }), /password authentication failed/],
    ['a missing database', () => ({ pathname: '/elsewhere' }), /database "elsewhere" does not exist/],
    ['an error that contains the password', (url) => ({ pathname: `/${url.password}` }), /database "…" does not exist/],
  ])('FAILED: %s; neither reply nor log contains the password or the URL', async (_, change, reason) => {
    await emptyDatabase();
    const url = new URL(process.env.DATABASE_URL as string);
    const { password } = Object.assign(url, change(url));
    setEnv({ DATABASE_URL: url.href });
    const logged: string[] = [];
    for (const level of ['info', 'warn', 'error'] as const) {
      vi.spyOn(log, level).mockImplementation((...args) => void logged.push(JSON.stringify(args)));
    }
    const body = await deploy('Create', { remainingMs: 25_000 });
    expect(body).toMatchObject({ Status: 'FAILED', Reason: expect.stringMatching(reason) });
    for (const secret of [password, decodeURIComponent(password), url.href]) {
      expect(JSON.stringify(body)).not.toContain(secret);
      expect(logged.join('\n')).not.toContain(secret);
    }
  });

  it('FAILED before the Lambda times out: another process holds the migration lock', async () => {
    const client = await emptyDatabase();
    // The lock of node-pg-migrate, which an earlier version holds while it migrates.
    await client.query('select pg_advisory_lock(7241865325823964)');
    const started = Date.now();
    const body = await deploy('Create', { remainingMs: 22_000 });
    expect(body).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining('time') });
    expect(Date.now() - started).toBeLessThan(4_000);
    await client.query('select pg_advisory_unlock_all()');
  });

  it('FAILED within 14 s with a lock timeout, so that requests do not queue behind the migration; SUCCESS once unlocked', async () => {
    const client = await emptyDatabase();
    await deploy('Create');
    await client.query(`delete from berth_migrations where name >= '0003'`);
    await client.query('begin; lock table mqtt_broker_config in access share mode');
    const started = Date.now();
    expect(await deploy('Update')).toMatchObject({
      Status: 'FAILED',
      Reason: 'canceling statement due to lock timeout',
    });
    expect(Date.now() - started).toBeLessThan(14_000);
    await client.query('rollback');
    expect(await deploy('Update')).toMatchObject({ Status: 'SUCCESS' });
  });
});

describe('invoked by an operator', () => {
  it('returns the applied migrations', async () => {
    await emptyDatabase();
    expect(await handler({}, lambdaContext(60_000))).toEqual({ applied: MIGRATIONS });
    expect(await handler({ allowBreaking: true }, lambdaContext(60_000))).toEqual({ applied: [] });
  });

  it('throws the message of Postgres', async () => {
    const client = await emptyDatabase();
    await client.query('create table bulk_assign_jobs (id integer primary key)');
    await expect(handler({}, lambdaContext(60_000))).rejects.toThrow('column "state" does not exist');
  });
});

it('SUCCESS: logs in with the owner’s secret, and with its pending version while the password is rotated', async () => {
  const client = await emptyDatabase();
  const manager = await startSecretsManager();
  onTestFinished(() => manager.close());
  const { hostname, port, pathname, username, password } = new URL(process.env.DATABASE_URL as string);
  const secretOf = (password: string) => JSON.stringify({ username, password });
  Object.assign(process.env, manager.env, {
    DATABASE_SECRET_ARN: arnOf('owner'),
    DATABASE_HOST: hostname,
    DATABASE_PORT: port,
    DATABASE_NAME: pathname.slice(1),
  });
  setEnv({ DATABASE_URL: '' });
  manager.put(arnOf('owner'), secretOf('before'));
  manager.put(arnOf('owner'), secretOf(password), 'AWSPENDING');
  expect(await deploy('Create')).toMatchObject({ Status: 'SUCCESS' });
  manager.promote(arnOf('owner'));
  expect(await deploy('Update')).toMatchObject({ Status: 'SUCCESS' });
  expect(await tables(client)).toContain('devices');
});

describe('the role of the functions (DATABASE_APP_USER)', () => {
  let owner: Berth;
  let role: string;
  let password: string;
  beforeEach(async () => {
    owner = await startBerth();
    role = `app_${randomBytes(6).toString('hex')}`;
    password = randomBytes(12).toString('hex');
    onTestFinished(async () => {
      await owner.sql(`drop owned by ${role}`);
      await owner.sql(`drop role ${role}`);
      await owner.stop();
    });
    process.env.DATABASE_APP_USER = role;
    setEnv({ DATABASE_URL: owner.databaseUrl });
  });

  /** From here on, the handlers log in as that role. @returns a client with the same login */
  async function logInAsRole(): Promise<pg.Client> {
    await owner.sql(`alter role ${role} password '${password}'`);
    const url = Object.assign(new URL(owner.databaseUrl), { username: role, password });
    setEnv({ DATABASE_URL: url.href });
    await closeDatabase();
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    onTestFinished(() => client.end());
    return client;
  }

  it('may serve devices and operators; 42501 for DDL, TRUNCATE and changes of the history', async () => {
    expect(await deploy('Create')).toMatchObject({ Status: 'SUCCESS' });
    expect(await deploy('Update')).toMatchObject({ Status: 'SUCCESS' });
    const client = await logInAsRole();
    const broker = await addBroker(owner, { is_default: true });
    const { key } = await issueKey();
    const device = newDevice();
    const registered = await register(key, device);
    expect(registered.status, registered.text).toBe(200);
    expect((await register(key, device)).text).toBe(registered.text);
    const requests = [
      ['GET /api/v1/devices', {}],
      ['POST /api/v1/devices/bulk-assign', { body: { all: true, target: { mqtt_broker_id: broker } } }],
      ['GET /api/v1/mqtt/brokers/summary', {}],
      [`POST /api/v1/devices/${device.uuid}/rotate-credentials`, {}],
      [`DELETE /api/v1/devices/${device.uuid}`, {}],
    ] as const;
    for (const [target, options] of requests) {
      const { status, text } = await call(target, { headers: admin, ...options });
      expect(status, `${target}: ${text}`).toBe(200);
    }
    const [seen] = await owner.sql(`select count(*)::int from pg_stat_activity where usename = $1`, [role]);
    expect(seen?.count, 'the connections of the handlers and of this test').toBe(2);
    for (const statement of [
      'drop table devices',
      'alter table devices add column x text',
      'create table x (id integer)',
      'truncate devices',
      'update device_events set reason = null',
      'delete from device_events',
      `insert into berth_migrations (name, run_on) values ('x', now())`,
      'create role x',
    ]) {
      await expect(client.query(statement), statement).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('may read and write tables that are created later', async () => {
    await deploy('Create');
    await owner.sql('create table later (id integer generated always as identity primary key, what text)');
    const client = await logInAsRole();
    await client.query(`insert into later (what) values ('x')`);
    expect((await client.query('select what from later')).rows).toEqual([{ what: 'x' }]);
  });

  it('may read other sessions’ activity; an owner who cannot grant that logs it, and the role still works', async () => {
    await deploy('Create');
    const readsStats = async () =>
      (await owner.sql(`select pg_has_role($1, 'pg_read_all_stats', 'usage') as may_read`, [role]))[0]?.may_read;
    expect(await readsStats()).toBe(true);

    await owner.sql(`drop owned by ${role}`);
    await owner.sql(`drop role ${role}`);
    const plain = `plain_${randomBytes(6).toString('hex')}`;
    const { pathname } = new URL(owner.databaseUrl);
    await owner.sql(`create role ${plain} login createrole password '${password}'`);
    await owner.sql(`drop schema public cascade`);
    await owner.sql(`create schema public authorization ${plain}`);
    onTestFinished(async () => {
      await owner.sql(`drop owned by ${plain} cascade`);
      await owner.sql(`drop role ${plain}`);
    });
    await owner.sql(`grant create on database ${pg.escapeIdentifier(pathname.slice(1))} to ${plain}`);
    const lines: string[] = [];
    const url = Object.assign(new URL(owner.databaseUrl), { username: plain, password });
    await migrate(url.href, { appUser: role, log: (line) => lines.push(line) });
    expect(lines.join()).toContain(`may not grant pg_read_all_stats to "${role}"`);
    expect(await readsStats()).toBe(false);
    const client = await logInAsRole();
    expect((await client.query('select count(*)::int as count from devices')).rows).toEqual([{ count: 0 }]);
    expect((await client.query('show lock_timeout')).rows).toEqual([{ lock_timeout: '2s' }]);
  });

  it('an owner who may not limit the role’s statements logs it, and the role still works', async () => {
    await owner.sql(`create role ${role} login`);
    const plain = `plain_${randomBytes(6).toString('hex')}`;
    await owner.sql(`create role ${plain} login createrole password '${password}'`);
    onTestFinished(async () => {
      await owner.sql(`drop owned by ${plain} cascade`);
      await owner.sql(`drop role ${plain}`);
    });
    await owner.sql('drop schema public cascade');
    await owner.sql(`create schema public authorization ${plain}`);
    const database = pg.escapeIdentifier(new URL(owner.databaseUrl).pathname.slice(1));
    await owner.sql(`grant create on database ${database} to ${plain}`);
    const lines: string[] = [];
    const url = Object.assign(new URL(owner.databaseUrl), { username: plain, password });
    await migrate(url.href, { appUser: role, log: (line) => lines.push(line) });
    expect(lines.join()).toContain(`may not limit the statements of "${role}"`);
    const client = await logInAsRole();
    expect((await client.query('select count(*)::int as count from devices')).rows).toEqual([{ count: 0 }]);
  });

  it('is a member of rds_iam where that role exists, as on RDS', async () => {
    await owner.sql('create role rds_iam');
    onTestFinished(async () => void (await owner.sql('drop role rds_iam')));
    await deploy('Create');
    const [row] = await owner.sql(`select pg_has_role($1, 'rds_iam', 'member') as is_member`, [role]);
    expect(row?.is_member).toBe(true);
    await owner.sql(`revoke rds_iam from ${role}`);
  });
});
