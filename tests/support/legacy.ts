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

/** Creates the legacy service's tables, with Postgres' uuid generator instead of uuid-ossp's. */
export async function createLegacyTables(sql: Berth['sql']): Promise<void> {
  for (const [table, columns] of Object.entries(Object.groupBy(legacyColumns(), ({ table }) => table))) {
    await sql(`create table ${table} (${(columns ?? []).map(columnSql).join(', ')}, primary key (id))`);
  }
  for (const constraint of CONSTRAINTS) await sql(constraint);
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

/** A fleet of the legacy service: a key, a device with bcrypt hashes, two brokers that are both the default. */
export async function addLegacyRows(sql: Berth['sql']): Promise<void> {
  const [key] = await sql(
    `insert into provisioning_keys (key_hash, fleet_id, max_devices, devices_provisioned, expires_at)
     values ($1, 'old-fleet', 10, 1, now() + interval '1 year') returning id`,
    [await hash(LEGACY_PROVISIONING_KEY, 10)],
  );
  await sql(
    `insert into devices (uuid, device_name, device_type, fleet_id, provisioned_by_key_id, device_api_key_hash, mqtt_username)
     values ($1, $2, $3, 'old-fleet', $4, $5, $6)`,
    [
      LEGACY_DEVICE.uuid,
      LEGACY_DEVICE.deviceName,
      LEGACY_DEVICE.deviceType,
      key?.id,
      await hash(LEGACY_DEVICE.deviceApiKey, 10),
      `device_${LEGACY_DEVICE.uuid.toUpperCase()}`,
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
  await sql(
    `insert into mqtt_broker_config (name, host, port, is_default, updated_at)
     values ('first', 'first.example.com', 1883, true, now() - interval '1 day'), ('second', 'second.example.com', 1883, true, now())`,
  );
}
