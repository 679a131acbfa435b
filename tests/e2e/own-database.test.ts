import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../lib/database/migrate.ts';
import { type OwnPostgres, startOwnPostgres } from '../support/own-postgres.ts';
import { cloneProject, type Local, localFile, run, stackPorts } from '../support/stack.ts';

const clone = cloneProject();
let postgres: OwnPostgres;

beforeAll(async () => {
  postgres = await startOwnPostgres();
});
afterAll(async () => {
  await postgres.remove();
  clone.remove();
});

/** A new database with these tables; returns its URL. */
async function database(name: string, ...statements: string[]): Promise<string> {
  await postgres.sql(`create database ${name}`);
  const url = Object.assign(new URL(postgres.url), { pathname: `/${name}` }).href;
  await ask(url, ...statements);
  return url;
}

async function ask(url: string, ...statements: string[]) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

async function start(url: string, args: string[] = [], env: Record<string, string> = {}) {
  const ports = await stackPorts();
  return run(process.execPath, ['local/start.ts', ...args], {
    cwd: clone.dir,
    env: { ...ports, DATABASE_URL: url, ...env },
  });
}

const brokersOf = (url: string) =>
  ask(url, 'select name, is_active, is_default from mqtt_broker_config order by id') as Promise<unknown[]>;

describe('DATABASE_URL=… npm start', () => {
  it('refuses a database that is not empty in one sentence, and changes nothing', async () => {
    const url = await database('production', 'create table orders ()');
    const stack = await start(url);
    expect(await stack.ended).toBe(1);
    expect(stack.output()).toContain('The database production on 127.0.0.1 (DATABASE_URL) is not empty');
    expect(stack.output()).toContain('npm start -- --yes');
    expect(await ask(url, `select tablename from pg_tables where schemaname = 'public'`)).toEqual([
      { tablename: 'orders' },
    ]);
  });

  it('with --yes, adds neither brokers nor a key to a database that has brokers', async () => {
    const url = await database('fleet');
    await migrate(url);
    await ask(
      url,
      `insert into mqtt_broker_config (name, host, port, is_default) values ('eu', 'mqtt.example.com', 1883, true)`,
    );
    const stack = await start(url, ['--yes']);
    await stack.says(/^Ready\.$/m, 120_000);
    expect(localFile(clone.dir)).toMatchObject({ provisioningKey: '', brokers: [] });
    expect(await brokersOf(url)).toEqual([{ name: 'eu', is_active: true, is_default: true }]);
    expect(await ask(url, 'select count(*)::int as keys from provisioning_keys')).toEqual([{ keys: 0 }]);
    const { url: api } = localFile(clone.dir) as Local;
    const device = run(process.execPath, ['examples/device/device.ts'], { cwd: clone.dir });
    expect(await device.ended).toBe(1);
    expect(device.output()).toMatch(
      new RegExp(`^device \\S+: this stack has no demo key\\. .* BERTH_URL=${api} BERTH_PROVISIONING_KEY=… .*\\n$`),
    );
    expect(stack.output()).toContain(`BERTH_URL=${api} BERTH_PROVISIONING_KEY=prov_… npm run device`);
    expect(await stack.end('SIGINT')).toBe(0);
  });

  it('uses an empty database, again without a question; a port less deactivates its broker', async () => {
    const url = await database('empty');
    const first = await start(url);
    await first.says(/^Ready\.$/m, 120_000);
    await ask(
      url,
      'update mqtt_broker_config set is_default = false',
      `update mqtt_broker_config set is_default = true where name = 'local-2'`,
    );
    expect(await first.end('SIGINT')).toBe(0);

    const { MQTT_PORTS } = await stackPorts();
    const second = await start(url, [], { MQTT_PORTS: MQTT_PORTS.split(',')[0] as string });
    await second.says(/^Ready\.$/m, 120_000);
    expect(await brokersOf(url)).toEqual([
      { name: 'local-1', is_active: true, is_default: true },
      { name: 'local-2', is_active: false, is_default: false },
    ]);
    expect(await second.end('SIGINT')).toBe(0);

    const third = await start(url);
    await third.says(/^Ready\.$/m, 120_000);
    expect(await brokersOf(url)).toMatchObject([{ is_active: true }, { is_active: true, is_default: false }]);
    expect(await third.end('SIGINT')).toBe(0);
  });

  it.each([
    ['to create tables', 'guarded', []],
    ['to read Berth’s tables', 'foreign_tables', ['create table mqtt_broker_config (id int)']],
  ])('says in one sentence that the role has no rights %s', async (_, name, tables) => {
    const guest = `do $$ begin create role guest login password 'guest'; exception when duplicate_object then null; end $$`;
    const url = await database(name, guest, ...tables);
    const stack = await start(Object.assign(new URL(url), { username: 'guest', password: 'guest' }).href);
    expect(await stack.ended).toBe(1);
    expect(stack.output()).toContain('The role guest may not do this (permission denied');
    expect(stack.output()).not.toMatch(/\n\s+at /);
  });
});
