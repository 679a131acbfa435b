import pg from 'pg';
import { UserError } from '../tools/user-error.ts';

/** An embedded broker: the id of its row, and the URL that devices receive. */
export type LocalBroker = {
  id: number;
  name: string;
  port: number;
  url: string;
  isDefault: boolean;
  /** The user of its connection test. */
  username: string | null;
};

/** @throws UserError if it cannot connect to DATABASE_URL */
export async function checkReachable(databaseUrl: string): Promise<void> {
  try {
    await withClient(databaseUrl, (client) => client.query('select 1'));
  } catch (error) {
    throw new UserError(
      `Cannot connect to DATABASE_URL (${reasonOf(error)}). Correct it, or unset it to use the embedded database.`,
    );
  }
}

/**
 * What is in a database before `npm start` uses it: nothing, the local stack's own data, or something else, perhaps of a
 * production. `hasBrokers`: adding the embedded brokers would move devices.
 */
export type Content = { kind: 'empty' | 'local' | 'other'; hasBrokers: boolean };

export async function contentOf(databaseUrl: string): Promise<Content> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ local: boolean; empty: boolean; brokers: boolean }>(CONTENT);
    const [{ local, empty, brokers }] = rows as [(typeof rows)[0]];
    const hasBrokers = brokers && (await client.query('select from mqtt_broker_config limit 1')).rowCount === 1;
    return { kind: local ? 'local' : empty ? 'empty' : 'other', hasBrokers };
  });
}

/** The mark of a database that has the embedded brokers. A description of theirs could be copied into a production database. */
const MARK = 'berth_local_stack';

const CONTENT = `
  select to_regclass('${MARK}') is not null as local, to_regclass('mqtt_broker_config') is not null as brokers,
         not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                     where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_'
                       and n.nspname <> 'information_schema') as empty`;

/** Marks a database as the local stack's, before it gets the embedded brokers. */
export async function markAsLocal(databaseUrl: string): Promise<void> {
  await withClient(databaseUrl, (client) => client.query(`create table if not exists ${MARK} ()`));
}

/** Creates the database if it does not exist. */
export async function ensureDatabase(adminUrl: string, name: string): Promise<void> {
  await withClient(adminUrl, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name]);
    if (!rowCount) await client.query(`create database ${pg.escapeIdentifier(name)}`);
  });
}

/** The roles that the functions log in as, as on AWS: with their rights, and their limits for statements. */
export const APP_ROLE = 'berth_app';
export const MQTT_AUTH_ROLE = 'berth_mqtt_auth';

/** The URL of the embedded database for a role, which gets the superuser's password. */
export async function loginAs(role: string, databaseUrl: string): Promise<string> {
  const url = new URL(databaseUrl);
  const password = pg.escapeLiteral(decodeURIComponent(url.password));
  await withClient(databaseUrl, (client) => client.query(`alter role ${role} password ${password}`));
  return Object.assign(url, { username: role }).href;
}

/**
 * Registers the embedded brokers as `local-1`, `local-2` …, or updates the ports of these rows. Keeps what an operator has
 * changed (active, default). The first one becomes the default if there is none. Rows without a port are deactivated.
 */
export async function registerBrokers(databaseUrl: string, ports: number[]): Promise<LocalBroker[]> {
  return withClient(databaseUrl, async (client) => {
    const names = ports.map((_, index) => `local-${index + 1}`);
    await client.query(SWITCH_OFF, [names]);
    for (const [index, name] of names.entries()) await client.query(UPSERT, [name, ports[index]]);
    await client.query(DEFAULT, [names[0]]);
    const { rows } = await client.query<LocalBroker>(SELECT, [names]);
    return rows;
  });
}

/** The description tells a broker without a port from one that an operator has deactivated. */
const OFF = 'Embedded broker of npm start, off: MQTT_PORTS has no port for it';

const SWITCH_OFF = `
  update mqtt_broker_config set is_active = false, is_default = false, description = '${OFF}'
  where broker_type = 'local' and name like 'local-%' and is_active and not name = any($1)`;

const UPSERT = `
  insert into mqtt_broker_config as broker (name, description, protocol, host, port, broker_type)
  values ($1, 'Embedded broker of npm start', 'mqtt', 'localhost', $2, 'local')
  on conflict (name) do update set protocol = 'mqtt', host = 'localhost', port = excluded.port, use_tls = false,
    is_active = broker.is_active or broker.description = '${OFF}', description = excluded.description`;

const DEFAULT = `
  update mqtt_broker_config set is_default = true
  where name = $1 and not exists (select from mqtt_broker_config where is_default)`;

const SELECT = `
  select id, name, username, port, 'mqtt://localhost:' || port as url, coalesce(is_default, false) as "isDefault"
  from mqtt_broker_config where name = any($1) order by id`;

export async function withClient<T>(databaseUrl: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.end().catch(() => {});
  }
}

/** For a host name with several addresses Node reports several errors, under one without a message. */
function reasonOf(error: unknown): string {
  const { errors, message } = error as { errors?: Error[]; message: string };
  return errors?.[0]?.message ?? message;
}
