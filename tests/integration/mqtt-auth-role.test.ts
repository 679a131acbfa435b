import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { migrate } from '../../lib/database/migrate.ts';
import { addBroker, issueKey, newDevice, register, useBerth } from '../support/berth.ts';
import { type Instance, startInstances } from '../support/instances.ts';
import { MQTT_AUTH_ROLE, urlAs } from '../support/postgres.ts';
import { arnOf, type SecretsManager, startSecretsManager } from '../support/secrets-manager.ts';

const berth = useBerth();
let asRole: pg.Client;
let manager: SecretsManager;
let user: { username: string; password: string };
let uuid: string;

beforeAll(async () => {
  manager = await startSecretsManager();
  asRole = new pg.Client({ connectionString: urlAs(MQTT_AUTH_ROLE, berth.databaseUrl) });
  await asRole.connect();
  const device = newDevice();
  ({ uuid } = device);
  user = (await register((await issueKey()).key, device)).body.mqtt;
});
afterAll(async () => {
  await asRole.end();
  await manager.close();
});

const relations = (kind: string) =>
  berth.sql(
    'select oid::regclass::text as name from pg_class where relnamespace = $1::regnamespace and relkind = any($2)',
    ['public', [...kind]],
  );

describe('the role of mqtt-auth', () => {
  it('42501: it changes no table, and uses no sequence', async () => {
    const tables = await relations('rp');
    expect(tables.length).toBeGreaterThan(5);
    for (const { name } of tables) {
      const [column] = await berth.sql(
        `select quote_ident(attname) as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and attidentity = '' and attgenerated = '' limit 1`,
        [name],
      );
      for (const statement of [
        `insert into ${name} default values`,
        `update ${name} set ${column?.name} = null`,
        `delete from ${name}`,
        `truncate ${name}`,
      ]) {
        await expect(asRole.query(statement), statement).rejects.toMatchObject({ code: '42501' });
      }
    }
    for (const { name } of await relations('S')) {
      await expect(asRole.query('select nextval($1)', [name]), name).rejects.toMatchObject({ code: '42501' });
    }
    await expect(asRole.query('create table x (id integer)')).rejects.toMatchObject({ code: '42501' });
    await expect(asRole.query('select berth_purge_events(0, 400, 10)')).rejects.toMatchObject({ code: '42501' });
  });

  it('reads exactly these columns: no key, no salt, no broker’s password, no hash of a provisioning key', async () => {
    const readable = await berth.sql(
      `select c.relname || '.' || a.attname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0 and not a.attisdropped
         and has_column_privilege($1, c.oid, a.attnum, 'select')`,
      [MQTT_AUTH_ROLE],
    );
    const ofViews = [
      'assigned_broker_id',
      'device_uuid',
      'is_superuser',
      'password_hash',
      'provisioned_by_key_id',
      'username',
    ];
    const ofBrokers = [
      ...['broker_id', 'broker_source', 'client_id_prefix', 'client_ids', 'device_uuid', 'is_superuser', 'reason'],
      'ends_former',
    ];
    const ofDevices = ['id', 'uuid', 'handed_broker_id', 'former_broker_ids'];
    expect(readable.map(({ name }) => name).sort()).toEqual(
      [
        ...ofViews.map((name) => `mqtt_device_users.${name}`),
        ...[...ofBrokers, 'password_hash', 'username'].map((name) => `mqtt_broker_users.${name}`),
        ...ofDevices.map((name) => `devices.${name}`),
        ...['access', 'topic', 'username'].map((name) => `mqtt_acls.${name}`),
        ...['default_broker_id', 'id'].map((name) => `provisioning_keys.${name}`),
        ...['id', 'is_default', 'refusal'].map((name) => `mqtt_broker_config.${name}`),
      ].sort(),
    );
  });

  it('may end the permission at a former broker', async () => {
    expect((await asRole.query(`select berth_end_former('nobody', 1)`)).rowCount).toBe(1);
    await expect(asRole.query('update devices set handed_broker_id = 1')).rejects.toMatchObject({ code: '42501' });
  });

  it('loses what it had beyond that with the next migration', async () => {
    await berth.sql(
      `grant select, update on devices to ${MQTT_AUTH_ROLE}; grant select (password_hash) on mqtt_broker_config to ${MQTT_AUTH_ROLE}`,
    );
    expect((await asRole.query('select device_api_key_hash from devices')).rowCount).toBe(1);
    await migrate(berth.databaseUrl, { mqttAuthUser: MQTT_AUTH_ROLE });
    for (const secret of [
      'device_api_key_hash from devices',
      'password_hash from mqtt_broker_config',
      'key_hash from provisioning_keys',
    ]) {
      await expect(asRole.query(`select ${secret}`), secret).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('has the limits for statements', async () => {
    expect((await asRole.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '6s' }]);
    expect((await asRole.query('show lock_timeout')).rows).toEqual([{ lock_timeout: '2s' }]);
  });

  it('the statements of docs/deploy.md give a role of an existing database the same rights', async () => {
    const name = `auth_${randomBytes(6).toString('hex')}`;
    const guide = readFileSync(new URL('../../docs/deploy.md', import.meta.url), 'utf8');
    const from = guide.indexOf('    create role berth_mqtt_auth');
    const sql = guide.slice(from, guide.indexOf('\n\n', from)).replaceAll('berth_mqtt_auth', name);
    onTestFinished(async () => {
      await berth.sql(`drop owned by ${name}; drop role ${name}`);
    });
    await berth.sql(sql);
    const rightsOf = (role: string) =>
      berth.sql(
        `select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') and a.attnum > 0
           and (has_column_privilege($1, c.oid, a.attnum, 'select') or has_any_column_privilege($1, c.oid, 'insert, update'))
         order by 1, 2`,
        [role],
      );
    expect(await rightsOf(name)).toEqual(await rightsOf(MQTT_AUTH_ROLE));
    const limits = await berth.sql('select setconfig from pg_db_role_setting where setrole = $1::regrole', [name]);
    expect(limits).toEqual([{ setconfig: expect.arrayContaining(['statement_timeout=6s', 'lock_timeout=2s']) }]);
  });
});

const SECRET = 'secret-of-the-brokers';

describe.each(['url', 'secret'])('mqtt-auth with this role, by %s', (by) => {
  let instance: Instance;
  beforeAll(async () => {
    const url = urlAs(MQTT_AUTH_ROLE, berth.databaseUrl);
    const { hostname: host, port, pathname, username, password } = new URL(url);
    manager.put(
      arnOf('mqtt-auth'),
      JSON.stringify({ username, password: decodeURIComponent(password), host, port, dbname: pathname.slice(1) }),
    );
    const login =
      by === 'url'
        ? { DATABASE_URL: url }
        : { DATABASE_URL: '', DATABASE_SECRET_ARN: arnOf('mqtt-auth'), ...manager.env };
    [instance] = (await startInstances(1, { BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET), ...login })) as [Instance];
  });
  afterAll(() => instance.stop());

  const questions = () => ({
    user: { ...user },
    vhost: { username: user.username },
    resource: { username: user.username, resource: 'exchange', name: 'amq.topic', permission: 'write' },
    topic: { username: user.username, name: 'amq.topic', permission: 'write', routing_key: `iot.device.${uuid}.state` },
    acl: { username: user.username, topic: `iot/device/${uuid}/state`, action: 'publish' },
  });

  it.each(['user', 'vhost', 'resource', 'topic', 'acl'] as const)(
    '%s allows, and refuses a device of another broker',
    async (route) => {
      const elsewhere = await addBroker(berth);
      const ask = (query: Record<string, string>) =>
        instance.call(`POST /api/v1/mqtt/auth/${route}`, {
          headers: { authorization: `Bearer ${SECRET}` },
          body: questions()[route],
          query,
        });
      expect(await ask({})).toMatchObject({ status: 200, body: { result: 'allow' } });
      // The broker is known only from mqtt_broker_users, not from the query that replaces it after a failure.
      expect(await ask({ broker: String(elsewhere) })).toMatchObject({
        body: { result: 'deny', Error: expect.stringMatching(/^its broker is number \d+$/) },
      });
      const seen = await berth.sql(
        `select distinct usename from pg_stat_activity where datname = current_database() and application_name = 'berth'
       and query like '%mqtt_broker_users%'`,
      );
      expect(seen).toEqual([{ usename: MQTT_AUTH_ROLE }]);
    },
  );
});

it('mqtt-auth answers while the resolution fails, with the rights on mqtt_device_users', async () => {
  const [instance] = (await startInstances(1, {
    BROKER_AUTH_SECRET_HASH: sha256Hex(SECRET),
    DATABASE_URL: urlAs(MQTT_AUTH_ROLE, berth.databaseUrl),
    MQTT_BROKER_URL: 'mqtt://fallback.example.com',
  })) as [Instance];
  onTestFinished(() => instance.stop());
  await berth.sql('alter view mqtt_broker_users rename to hidden');
  onTestFinished(async () => void (await berth.sql('alter view hidden rename to mqtt_broker_users')));
  const headers = { authorization: `Bearer ${SECRET}` };
  const answer = await instance.call('POST /api/v1/mqtt/auth/user', { headers, body: user });
  expect(answer).toMatchObject({ status: 200, body: { result: 'allow' } });
});
