import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { handler } from '../../functions/migrate.ts';
import { closeDatabase } from '../../lib/database/db.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { log } from '../../lib/log.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { call } from '../support/api.ts';
import { addBroker, admin, type Berth, issueKey, newDevice, register, setEnv, startBerth } from '../support/berth.ts';
import { createDatabase } from '../support/postgres.ts';
import { arnOf, startSecretsManager } from '../support/secrets-manager.ts';

const MIGRATIONS = readdirSync(new URL('../../migrations', import.meta.url))
  .filter((name) => /^\d.*\.sql$/.test(name))
  .map((name) => name.replace('.sql', ''))
  .sort();
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  for (const name of ['DATABASE_APP_USER', 'DATABASE_SECRET_ARN', 'DATABASE_HOST', 'DATABASE_PORT', 'DATABASE_NAME']) {
    delete process.env[name];
  }
  setEnv({});
  vi.restoreAllMocks();
});

/** An empty database that the handlers of this process know as theirs. */
async function emptyDatabase(): Promise<pg.Client> {
  const database = await createDatabase(inject('postgresUrl'));
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  closing.push(async () => {
    await client.end();
    await database.drop();
  });
  setEnv({ DATABASE_URL: database.url });
  return client;
}

type CloudFormation = {
  url: string;
  /** What was put there, and how. */
  answers: { body: Record<string, unknown>; contentType: string | undefined; bytes: number }[];
};

/** Where CloudFormation takes a custom resource's answer. The first `refusals` of them are refused. */
async function startCloudFormation(refusals = 0): Promise<CloudFormation> {
  const answers: CloudFormation['answers'] = [];
  let refused = 0;
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    if (request.method !== 'PUT' || refused++ < refusals) return response.writeHead(503).end();
    answers.push({ body: JSON.parse(text), contentType: request.headers['content-type'], bytes: text.length });
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  closing.push(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/answer?signature=x`, answers };
}

const context = (remainingMs = 60_000) => {
  const end = Date.now() + remainingMs;
  return { awsRequestId: 'r', getRemainingTimeInMillis: () => end - Date.now() } as never;
};

/** What CloudFormation sends, and what it is answered. */
async function deploy(
  RequestType: 'Create' | 'Update' | 'Delete',
  { properties = {}, remainingMs, refusals }: { properties?: object; remainingMs?: number; refusals?: number } = {},
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
  await handler(event as never, context(remainingMs));
  expect(answers).toHaveLength(1);
  const [{ body, contentType, bytes } = { body: {}, contentType: '', bytes: 0 }] = answers;
  // The address is signed for a request without a type; CloudFormation takes no more.
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
  it('applies the migrations, says so in its log, and answers SUCCESS; a second time nothing is left to do', async () => {
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

  it('does nothing when a deployment that rolls back means other migrations', async () => {
    const client = await emptyDatabase();
    expect(await deploy('Update', { properties: { hash: '0'.repeat(64) } })).toMatchObject({ Status: 'SUCCESS' });
    expect(await tables(client)).toEqual([]);
    const hash = createRequire(import.meta.url)('../../infra/migrations-hash.cjs')();
    expect(await deploy('Update', { properties: { hash } })).toMatchObject({ Status: 'SUCCESS' });
    expect(await tables(client)).toContain('devices');
  });

  it('answers again when its answer isn’t taken', async () => {
    await emptyDatabase();
    expect(await deploy('Create', { refusals: 2 })).toMatchObject({ Status: 'SUCCESS' });
  });

  it('is deleted without a look at the database', async () => {
    setEnv({ DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/berth' });
    expect(await deploy('Delete')).toMatchObject({ Status: 'SUCCESS' });
  });

  it('answers FAILED with what Postgres says, and nothing is applied', async () => {
    const client = await emptyDatabase();
    await client.query('create table bulk_assign_jobs (id integer primary key)');
    expect(await deploy('Create')).toMatchObject({ Status: 'FAILED', Reason: 'column "state" does not exist' });
    expect(await tables(client)).toEqual(['berth_migrations', 'bulk_assign_jobs']);
    expect((await client.query('select from berth_migrations')).rowCount).toBe(0);
  });

  it.each([
    ['an address where nobody is', { port: '1' }, /ECONNREFUSED/],
    ['a wrong password', { password: 'pass/word-of-the-owner' }, /password authentication failed/],
    ['a database that is not there', { pathname: '/elsewhere' }, /database "elsewhere" does not exist/],
  ])('answers FAILED for %s, without what it logs in with', async (_, part, reason) => {
    await emptyDatabase();
    const url = new URL(process.env.DATABASE_URL as string);
    const { password } = Object.assign(url, { password: url.password, ...part });
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

  it('answers FAILED before its time is over, when somebody else is at it for too long', async () => {
    const client = await emptyDatabase();
    // node-pg-migrate's own lock: a version before this one holds it while it migrates.
    await client.query('select pg_advisory_lock(7241865325823964)');
    const started = Date.now();
    const body = await deploy('Create', { remainingMs: 22_000 });
    expect(body).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining('time') });
    expect(Date.now() - started).toBeLessThan(4_000);
    await client.query('select pg_advisory_unlock_all()');
  });

  it('does not queue registrations up behind a table that it can’t have', async () => {
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

describe('by hand', () => {
  it('answers what was applied', async () => {
    await emptyDatabase();
    expect(await handler({}, context())).toEqual({ applied: MIGRATIONS });
    expect(await handler({ allowBreaking: true }, context())).toEqual({ applied: [] });
  });

  it('throws what went wrong', async () => {
    const client = await emptyDatabase();
    await client.query('create table bulk_assign_jobs (id integer primary key)');
    await expect(handler({}, context())).rejects.toThrow('column "state" does not exist');
  });
});

it('logs in as the owner by a secret, also while its password is rotated', async () => {
  const client = await emptyDatabase();
  const manager = await startSecretsManager();
  closing.push(() => manager.close());
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

describe('the role that the functions log in as', () => {
  let owner: Berth;
  let role: string;
  let password: string;
  beforeEach(async () => {
    owner = await startBerth();
    role = `app_${randomBytes(6).toString('hex')}`;
    password = randomBytes(12).toString('hex');
    closing.push(async () => {
      await owner.sql(`drop owned by ${role}`);
      await owner.sql(`drop role ${role}`);
      await owner.stop();
    });
    process.env.DATABASE_APP_USER = role;
    reloadSettings();
  });

  /** From here on the handlers are that role. */
  async function become(): Promise<pg.Client> {
    await owner.sql(`alter role ${role} password '${password}'`);
    const url = Object.assign(new URL(owner.databaseUrl), { username: role, password });
    setEnv({ DATABASE_URL: url.href });
    await closeDatabase();
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    closing.push(() => client.end());
    return client;
  }

  it('registers devices and does what operators ask for; tables and history are not its to change', async () => {
    expect(await deploy('Create')).toMatchObject({ Status: 'SUCCESS' });
    expect(await deploy('Update')).toMatchObject({ Status: 'SUCCESS' });
    const client = await become();
    const broker = await addBroker(owner, { is_default: true });
    const { key } = await issueKey();
    const device = newDevice();
    const registered = await register(key, device);
    expect(registered.status, registered.text).toBe(200);
    expect((await register(key, device)).text).toBe(registered.text);
    const asked = [
      ['GET /api/v1/devices', {}],
      ['POST /api/v1/devices/bulk-assign', { body: { all: true, target: { mqtt_broker_id: broker } } }],
      ['GET /api/v1/mqtt/brokers/summary', {}],
      [`POST /api/v1/devices/${device.uuid}/rotate-credentials`, {}],
      [`DELETE /api/v1/devices/${device.uuid}`, {}],
    ] as const;
    for (const [target, options] of asked) {
      const { status, text } = await call(target, { headers: admin, ...options });
      expect(status, `${target}: ${text}`).toBe(200);
    }
    const [seen] = await owner.sql(`select count(*)::int from pg_stat_activity where usename = $1`, [role]);
    expect(seen?.count, 'the handlers and this test').toBe(2);
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

  it('has its rights on tables that come later', async () => {
    await deploy('Create');
    await owner.sql('create table later (id integer generated always as identity primary key, what text)');
    const client = await become();
    await client.query(`insert into later (what) values ('x')`);
    expect((await client.query('select what from later')).rows).toEqual([{ what: 'x' }]);
  });

  it('may see what other sessions do, so that bulk-assign gives way to those only; if the owner may let it', async () => {
    await deploy('Create');
    const readsStats = async () =>
      (await owner.sql(`select pg_has_role($1, 'pg_read_all_stats', 'usage') as it_does`, [role]))[0]?.it_does;
    expect(await readsStats()).toBe(true);

    await owner.sql(`drop owned by ${role}`);
    await owner.sql(`drop role ${role}`);
    const plain = `plain_${randomBytes(6).toString('hex')}`;
    const { pathname } = new URL(owner.databaseUrl);
    await owner.sql(`create role ${plain} login createrole password '${password}'`);
    await owner.sql(`drop schema public cascade`);
    await owner.sql(`create schema public authorization ${plain}`);
    closing.push(async () => {
      await owner.sql(`drop owned by ${plain} cascade`);
      await owner.sql(`drop role ${plain}`);
    });
    await owner.sql(`grant create on database ${pg.escapeIdentifier(pathname.slice(1))} to ${plain}`);
    const lines: string[] = [];
    const url = Object.assign(new URL(owner.databaseUrl), { username: plain, password });
    await migrate(url.href, { appUser: role, log: (line) => lines.push(line) });
    expect(lines.join()).toContain(`may not grant pg_read_all_stats to "${role}"`);
    expect(await readsStats()).toBe(false);
    const client = await become();
    expect((await client.query('select count(*)::int as count from devices')).rows).toEqual([{ count: 0 }]);
  });

  it('is one of rds_iam where there is such a role, as on RDS', async () => {
    await owner.sql('create role rds_iam');
    closing.push(() => owner.sql('drop role rds_iam'));
    await deploy('Create');
    const [row] = await owner.sql(`select pg_has_role($1, 'rds_iam', 'member') as is_member`, [role]);
    expect(row?.is_member).toBe(true);
    await owner.sql(`revoke rds_iam from ${role}`);
  });
});
