import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hash } from 'bcryptjs';
import type { Berth } from './berth.ts';

type Column = { table: string; name: string; type: string; nullable: boolean; fallback: string };

/** The legacy service's columns, as read from its database. */
export function legacyColumns(): Column[] {
  const text = readFileSync(new URL('legacy-columns.csv', import.meta.url), 'utf8').trim();
  return text
    .split('\n')
    .slice(1)
    .map((line) => {
      const [table, , name, type, nullable, ...fallback] = line.split(',') as [string, string, string, string, string];
      return { table, name, type, nullable: nullable === 'YES', fallback: (fallback as string[]).join(',') };
    });
}

const CONSTRAINTS = [
  'alter table devices add constraint devices_uuid_key unique (uuid)',
  'alter table mqtt_users add constraint mqtt_users_username_key unique (username)',
  'alter table mqtt_broker_config add constraint mqtt_broker_config_name_key unique (name)',
  'alter table mqtt_acls add constraint mqtt_acls_access_check check (access between 1 and 7)',
];

/** Its triggers on these tables: their names, and what they do. The history is a table of its own. */
const TRIGGERS = `
  create table device_api_key_history (
    id serial primary key, device_uuid uuid not null references devices (uuid) on delete cascade,
    key_hash varchar(255) not null, issued_at timestamp, expires_at timestamp, is_active boolean default true);

  create function update_modified_at_column() returns trigger language plpgsql as $$
    begin new.modified_at := current_timestamp; return new; end $$;
  create function update_updated_at_column() returns trigger language plpgsql as $$
    begin new.updated_at := current_timestamp; return new; end $$;
  create trigger update_devices_modified_at before update on devices
    for each row execute function update_modified_at_column();
  create trigger trigger_mqtt_users_updated_at before update on mqtt_users
    for each row execute function update_updated_at_column();
  create trigger trigger_mqtt_broker_config_updated_at before update on mqtt_broker_config
    for each row execute function update_updated_at_column();

  create function ensure_one_default_broker() returns trigger language plpgsql as $$
    begin update mqtt_broker_config set is_default = false where is_default and id <> new.id; return new; end $$;
  create trigger trigger_ensure_one_default_broker before insert or update of is_default on mqtt_broker_config
    for each row when (new.is_default) execute function ensure_one_default_broker();

  create function archive_device_api_key() returns trigger language plpgsql as $$
  begin
    if old.device_api_key_hash is not null then
      insert into device_api_key_history (device_uuid, key_hash, issued_at, expires_at, is_active)
      values (old.uuid, old.device_api_key_hash, old.api_key_last_rotated_at, old.api_key_expires_at, false);
    end if;
    return new;
  end $$;
  create trigger trigger_archive_device_api_key before update of device_api_key_hash on devices
    for each row when (old.device_api_key_hash is distinct from new.device_api_key_hash)
    execute function archive_device_api_key();

  create function create_mqtt_user_for_device() returns trigger language plpgsql as $$
  begin
    if new.mqtt_username is not null then
      insert into mqtt_users (username, password_hash, is_superuser, is_active)
      values (new.mqtt_username, 'no password', false, new.is_active) on conflict (username) do nothing;
      insert into mqtt_acls (username, topic, access, priority)
      values (new.mqtt_username, 'device/' || new.uuid || '/#', 3, 20), (new.mqtt_username, 'sensor/' || new.uuid || '/#', 2, 20),
             (new.mqtt_username, 'system/status', 1, 10);
    end if;
    return null;
  end $$;
  create trigger trigger_create_mqtt_user_for_device after insert or update of mqtt_username on devices
    for each row execute function create_mqtt_user_for_device();`;

/** Creates the legacy service's tables and triggers, with Postgres' uuid generator instead of uuid-ossp's. */
export async function createLegacyTables(sql: Berth['sql']): Promise<void> {
  for (const [table, columns] of Object.entries(Object.groupBy(legacyColumns(), ({ table }) => table))) {
    await sql(`create table ${table} (${(columns ?? []).map(columnSql).join(', ')}, primary key (id))`);
  }
  for (const constraint of CONSTRAINTS) await sql(constraint);
  await sql(TRIGGERS);
}

/** SQL: `change`, which the triggers of the legacy service on `table` do not notice. Simultaneous requests leave several defaults. */
export function quietly(table: string, change: string): string {
  return `alter table ${table} disable trigger user; ${change}; alter table ${table} enable trigger user`;
}

function columnSql({ name, type, nullable, fallback }: Column): string {
  if (fallback.startsWith('nextval')) return `${name} serial`;
  const value = fallback.replace('uuid_generate_v4', 'gen_random_uuid');
  return [name, type, nullable ? '' : 'not null', value ? `default ${value}` : ''].join(' ');
}

export const LEGACY_PROVISIONING_KEY = 'ab12'.repeat(16);
export const LEGACY_DEVICE = {
  uuid: '5d1a1c5e-6b9e-4a39-9d2c-7f1f6b6c0a11',
  deviceName: 'Old pump',
  deviceType: 'raspberry-pi',
  deviceApiKey: 'cd34'.repeat(16),
};

/**
 * A fleet of the legacy service: a key, a device with bcrypt hashes that sent its uuid in upper case, two brokers that are both
 * the default. No row of devices names its MQTT user.
 */
export async function addLegacyRows(sql: Berth['sql']): Promise<void> {
  const [key] = await sql(
    `insert into provisioning_keys (key_hash, fleet_id, max_devices, devices_provisioned, expires_at)
     values ($1, 'old-fleet', 10, 1, now() + interval '1 year') returning id`,
    [await hash(LEGACY_PROVISIONING_KEY, 10)],
  );
  await sql(
    `insert into devices (uuid, device_name, device_type, fleet_id, provisioned_by_key_id, device_api_key_hash)
     values ($1, $2, $3, 'old-fleet', $4, $5)`,
    [
      LEGACY_DEVICE.uuid,
      LEGACY_DEVICE.deviceName,
      LEGACY_DEVICE.deviceType,
      key?.id,
      await hash(LEGACY_DEVICE.deviceApiKey, 10),
    ],
  );
  await sql(`insert into mqtt_users (username, password_hash) values ($1, $2)`, [
    `device_${LEGACY_DEVICE.uuid.toUpperCase()}`,
    await hash('old-mqtt-password', 10),
  ]);
  for (let i = 0; i < 2; i++) {
    await sql(`insert into mqtt_acls (username, topic, access) values ($1, $2, 7)`, [
      `device_${LEGACY_DEVICE.uuid.toUpperCase()}`,
      `iot/device/${LEGACY_DEVICE.uuid.toUpperCase()}/#`,
    ]);
  }
  const brokers = `insert into mqtt_broker_config (name, host, port, is_default, updated_at)
    values ('first', 'first.example.com', 1883, true, now() - interval '1 day'), ('second', 'second.example.com', 1883, true, now())`;
  await sql(quietly('mqtt_broker_config', brokers));
}

/** The spellings of a uuid that the legacy service accepted. */
export const SPELLINGS: Record<string, (uuid: string) => string> = {
  canonical: (uuid) => uuid,
  'upper case': (uuid) => uuid.toUpperCase(),
  braces: (uuid) => `{${uuid}}`,
  'no dashes': (uuid) => uuid.replaceAll('-', ''),
  'upper case in braces, no dashes': (uuid) => `{${uuid.replaceAll('-', '').toUpperCase()}}`,
};

/** Adds a device as the legacy service does, which has sent its uuid in these spellings: one registration for each. */
export async function addLegacyDevice(sql: Berth['sql'], ...spellings: string[]) {
  const device = { uuid: randomUUID(), deviceName: 'Old pump', deviceType: 'pump', deviceApiKey: 'ef56'.repeat(16) };
  await sql(
    `insert into devices (uuid, device_name, device_type, provisioned_at, device_api_key_hash)
     values ($1, $2, $3, current_timestamp, $4)`,
    [device.uuid, device.deviceName, device.deviceType, await hash(device.deviceApiKey, 4)],
  );
  const logins: { username: string; password: string }[] = [];
  for (const spelling of spellings) logins.push(await addLegacyUser(sql, SPELLINGS[spelling]?.(device.uuid) as string));
  return { device, logins };
}

/** Adds an MQTT user and its ACL as the legacy service does for a device that has sent its uuid so. */
export async function addLegacyUser(sql: Berth['sql'], uuid: string) {
  const login = { username: `device_${uuid}`, password: randomUUID() };
  await sql('insert into mqtt_users (username, password_hash) values ($1, $2)', [
    login.username,
    await hash(login.password, 4),
  ]);
  await sql('insert into mqtt_acls (username, topic, access) values ($1, $2, 7)', [
    login.username,
    `iot/device/${uuid}/#`,
  ]);
  return login;
}
