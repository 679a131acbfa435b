import type pg from 'pg';
import { describeTriggers } from './adoption-triggers.ts';
import { legacyColumns } from './legacy-columns.ts';

/** The lines to print, and whether all is well. */
export type Report = { lines: string[]; isOk: boolean };
/** `n`: how many; 0: no finding. `names`: which, or the first of them. */
type Found = { n: number; names: string | null };
type Check = { sql: string; say: (found: Found) => string };

/** With these the migration fails, or Berth fails later. */
const BLOCKERS: Check[] = [
  {
    sql: `select count(*), string_agg(relname, ', ' order by relname) as names from pg_class
          where relnamespace = current_schema()::regnamespace and relkind = 'r' and relname = any($1)
            and not pg_has_role(relowner, 'usage')`,
    say: ({ names }) => `this role does not own ${names}: migrate with the role that does`,
  },
  ...[
    ['devices', 'uuid'],
    ['mqtt_users', 'username'],
    ['mqtt_broker_config', 'name'],
  ].map(([table, column]) => ({
    sql: `select count(*), min(value) as names
          from (select ${column}::text as value from ${table} where $1::text[] is not null group by 1 having count(*) > 1) twice`,
    say: ({ n, names }: Found) => `${n} values of ${table}.${column} occur more than once, such as ${names}`,
  })),
];

/** Berth treats these differently from the legacy service: fix them before the migration. */
const TO_FIX: Check[] = [
  {
    sql: `select greatest(count(*) - 1, 0) as count,
                 (array_agg(name order by is_active desc nulls last, updated_at desc nulls last, id))[1] as names
          from mqtt_broker_config where is_default`,
    say: ({ n, names }) => `${n + 1} brokers are the default: the migration keeps only “${names}”`,
  },
  {
    sql: `select count(*), min(name) as names from mqtt_broker_config where is_default and is_active is not true`,
    say: ({ names }) =>
      `the default broker “${names}” is not active: Berth skips it, and answers with MQTT_BROKER_URL or 503`,
  },
  {
    sql: `select count(*), min(id::text) as names from provisioning_keys
          where is_active and expires_at > now() at time zone 'utc' and max_devices is null`,
    say: ({ n }) => `${n} provisioning keys have no max_devices: no device can register with them`,
  },
  {
    sql: `select (current_setting('TimeZone') not in ('UTC', 'Etc/UTC', 'GMT'))::integer as count, current_setting('TimeZone') as names`,
    say: ({ names }) =>
      `the time zone is ${names}: Berth reads the legacy columns as UTC, so keys expire hours too early or too late`,
  },
];

/** The rule of the view mqtt_device_users. Before the migration, its functions do not exist. */
const SPELT_UUID = `lower(translate(substr(u.username, 8), '{}-', ''))`;
const BELONGS = `u.username like 'device\\_%' and ${SPELT_UUID} = replace(d.uuid::text, '-', '')`;
const DELETED = `u.username like 'device\\_%' and ${SPELT_UUID} ~ '^[0-9a-f]{32}$'
  and not exists (select from devices d where ${BELONGS})`;
const BURNED = `device_api_key_hash is null and created_at < (now() at time zone 'utc') - interval '1 day'`;
const LISTED = 20;
const listed = ({ n, names }: Found) => `${names}${n > LISTED ? ` and ${n - LISTED} more` : ''}`;
const first = (value: string, from: string) =>
  `select count(*), (select string_agg(value, ', ') from (select ${value} as value from ${from} order by 1 limit ${LISTED}) first) as names
   from ${from}`;

/** What the legacy service left behind, and the statement that removes it. */
const LEFT_BEHIND: Check[] = [
  {
    sql: first('uuid::text', `devices where ${BURNED}`),
    say: (found) =>
      `${found.n} devices have had no key for more than a day: a registration broke off, and each further one is 409. ${listed(found)}.\n` +
      `  Remove them, then look again: delete from devices where ${BURNED};`,
  },
  {
    sql: first('username', `mqtt_users u where ${DELETED}`),
    say: (found) =>
      `${found.n} MQTT users belong to devices that were deleted: every broker accepts them. ${listed(found)}.\n` +
      `  Remove them: with gone as (delete from mqtt_users u where ${DELETED.replaceAll(/\s+/g, ' ')} returning username) ` +
      'delete from mqtt_acls where username in (select username from gone);',
  },
];

const TO_KNOW: Check[] = [
  {
    sql: `select count(*), null as names from devices where mqtt_broker_id in (select id from mqtt_broker_config)`,
    say: ({ n }) => `${n} devices are assigned to a broker: Berth gives them that one, not the default`,
  },
  {
    sql: `select count(*), null as names from mqtt_users u join devices d on ${BELONGS} where u.username <> 'device_' || d.uuid`,
    say: ({ n }) =>
      `${n} MQTT users spell the uuid of their device differently: they stay until the device registers again`,
  },
  {
    sql: `select count(*), null as names from mqtt_users u join devices d on ${BELONGS}
          where d.is_active is false and u.is_active`,
    say: ({ n }) => `${n} inactive devices have an active MQTT user: brokers that read only mqtt_users accept them`,
  },
  {
    sql: `select count(*), null as names from devices d
          where mqtt_broker_id is not null and not exists (select from mqtt_broker_config b where b.id = d.mqtt_broker_id)`,
    say: ({ n }) => `${n} devices are assigned to a broker that does not exist: Berth treats them as unassigned`,
  },
  {
    sql: `select case when count(*) > 50 then count(*) else 0 end as count, null as names from provisioning_keys
          where key_hash like '$2%' and is_active and expires_at > now() at time zone 'utc'`,
    say: ({ n }) =>
      `${n} provisioning keys are in use: Berth compares each with all of them on its first use, 60 ms each`,
  },
  {
    sql: `select count(*), string_agg(relname || ' (' || reltuples::bigint || ')', ', ') as names from pg_class
          where relnamespace = current_schema()::regnamespace and relname in ('devices', 'mqtt_acls') and reltuples > 500000
            and to_regclass('devices_mqtt_broker_id_idx') is null`,
    say: ({ names }) => `big tables: ${names}. Create the indexes first`,
  },
];

const FORM = (column: string) =>
  `case when ${column} like '$2%' then 'bcrypt' else 'Berth’s' end as form, count(*)::integer as n`;
const DEVICE_KEYS = `select ${FORM('device_api_key_hash')} from devices where device_api_key_hash is not null group by 1 order by 1 desc`;
const PROVISIONING_KEYS = `select ${FORM('key_hash')} from provisioning_keys
  where is_active and expires_at > now() at time zone 'utc' group by 1 order by 1 desc`;

/** What a legacy database contains, and what prevents its adoption. Only reads. */
export async function reportLegacyDatabase(client: pg.Client): Promise<Report> {
  const missing = await missingColumns(client);
  if (missing.length > 0) return { lines: [`Missing: ${missing.join(', ')}.`], isOk: false };
  const { rows: version } = await client.query('show server_version');
  const blockers = await findings(client, BLOCKERS, [[...legacyColumns().keys()]]);
  const lines = [
    `PostgreSQL ${version[0].server_version}. ${await counts(client)}.`,
    `Device keys: ${await forms(client, DEVICE_KEYS)}. Provisioning keys in use: ${await forms(client, PROVISIONING_KEYS)}.`,
    ...section('Prevents the migration', blockers),
    ...section('Fix first', await findings(client, TO_FIX)),
    ...section('Left behind by the legacy service', await findings(client, LEFT_BEHIND)),
    ...section('Triggers of the legacy service', await describeTriggers(client, [...legacyColumns().keys()])),
    ...section('Good to know', await findings(client, TO_KNOW)),
  ];
  return { lines, isOk: blockers.length === 0 };
}

async function missingColumns(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select table_name || '.' || column_name as name from information_schema.columns where table_schema = current_schema()`,
  );
  const present = new Set(rows.map(({ name }) => name));
  const expected = [...legacyColumns()].flatMap(([table, columns]) => columns.map((column) => `${table}.${column}`));
  return expected.filter((name) => !present.has(name));
}

async function counts(client: pg.Client): Promise<string> {
  const tables = [...legacyColumns().keys()];
  const { rows } = await client.query(
    `select ${tables.map((table) => `(select count(*)::integer from ${table}) as ${table}`).join(', ')}`,
  );
  return tables.map((table) => `${table} ${rows[0][table]}`).join(', ');
}

async function forms(client: pg.Client, sql: string): Promise<string> {
  const { rows } = await client.query<{ form: string; n: number }>(sql);
  return rows.map(({ form, n }) => `${n} ${form}`).join(', ') || 'none';
}

async function findings(client: pg.Client, checks: Check[], values: unknown[] = []): Promise<string[]> {
  const said: string[] = [];
  for (const { sql, say } of checks) {
    const { rows } = await client.query(sql, values);
    const n = Number(rows[0].count);
    if (n > 0) said.push(say({ n, names: rows[0].names }));
  }
  return said;
}

function section(title: string, findings: string[]): string[] {
  return findings.length === 0 ? [] : [`${title}:`, ...findings.map((finding) => `- ${finding}`)];
}
