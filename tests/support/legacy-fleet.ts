import { randomBytes, randomUUID } from 'node:crypto';
import { hash } from 'bcryptjs';
import type { Berth } from './berth.ts';
import { addLegacyUser, quietly, SPELLINGS } from './legacy.ts';

/** A device with its plain secrets, which only the device has. */
export type LegacyDevice = {
  uuid: string;
  deviceApiKey: string;
  username: string;
  mqttPassword: string;
  fleet: string;
  /** The broker of its row; null: none. */
  brokerId: number | null;
};
type Row = LegacyDevice & { keyHash: string; passwordHash: string };

export type LegacyFleet = {
  devices: LegacyDevice[];
  /** The plain valid key of each fleet. */
  provisioningKeys: Map<string, string>;
  /** MQTT users of devices that were deleted. */
  ofDeleted: string[];
  /** The uuids of devices whose registration broke off: they have no key. */
  burned: string[];
};

const FLEETS = ['north', 'south', 'east', 'west'];
/** The legacy service's cost for the first ones, the minimum for the rest: 10,000 hashes would take half an hour. */
const COSTS = { first: 10, rest: 4 };
const FIRST = 20;
/** This device has a key of more than 72 bytes. */
const LONG_KEY = 7;

/** Deleted devices, and devices without a key, for each device. */
const LEFT_BEHIND = 0.02;
const ODD_SPELLINGS = Object.values(SPELLINGS).slice(1);

/**
 * Fills the legacy tables as after years of use: used, revoked and expired keys, odd spellings, a key of more than 72 bytes, two
 * default brokers, deleted devices and broken registrations. No row of devices names its MQTT user.
 */
export async function addLegacyFleet(sql: Berth['sql'], size: number): Promise<LegacyFleet> {
  const brokers = `
    insert into mqtt_broker_config (name, host, port, use_tls, protocol, is_default, is_active, updated_at, extra_config)
    values ('old-1', 'mqtt-1.example.com', 1883, false, 'mqtt', true, true, now() - interval '1 year', '{"zone": 1}'),
           ('old-2', 'mqtt-2.example.com', 8883, true, 'mqtts', true, true, now(), '{}'),
           ('old-3', 'mqtt-3.example.com', 1883, false, 'mqtt', false, false, null, null)`;
  await sql(quietly('mqtt_broker_config', brokers));
  const devices = await Promise.all(Array.from({ length: size }, (_, i) => newRow(i)));
  const provisioningKeys = new Map<string, string>();
  for (const fleet of FLEETS) {
    const own = devices.filter((device) => device.fleet === fleet);
    await addKey(sql, { fleet, used: 3, isActive: false, expiresIn: '1 year' });
    await addKey(sql, { fleet, used: 3, isActive: true, expiresIn: '-1 day' });
    const { id, key } = await addKey(sql, { fleet, used: own.length, isActive: true, expiresIn: '1 year' });
    provisioningKeys.set(fleet, key);
    await addDevices(sql, own, id);
  }
  return { devices, provisioningKeys, ...(await addLeftBehind(sql, size * LEFT_BEHIND)) };
}

async function addLeftBehind(sql: Berth['sql'], n: number): Promise<Pick<LegacyFleet, 'ofDeleted' | 'burned'>> {
  const ofDeleted: string[] = [];
  for (let i = 0; i < n; i++) {
    ofDeleted.push((await addLegacyUser(sql, spellingOf(i, randomUUID()))).username);
  }
  const burned = await sql(
    `insert into devices (uuid, created_at) select gen_random_uuid(), now() - interval '2 days' from generate_series(1, $1)
     returning uuid::text`,
    [n],
  );
  return { ofDeleted, burned: burned.map(({ uuid }) => uuid) };
}

/** Every fifth device has sent its uuid in another spelling. */
function spellingOf(i: number, uuid: string): string {
  return (i % 5 === 0 && ODD_SPELLINGS[(i / 5) % ODD_SPELLINGS.length]?.(uuid)) || uuid;
}

type Key = { fleet: string; used: number; isActive: boolean; expiresIn: string };

async function addKey(sql: Berth['sql'], { fleet, used, isActive, expiresIn }: Key) {
  const key = randomBytes(32).toString('hex');
  const [row] = await sql(
    `insert into provisioning_keys (key_hash, fleet_id, description, max_devices, devices_provisioned, expires_at, is_active, created_by)
     values ($1, $2, 'line', $3, $4, now() + $5::interval, $6, 'admin') returning id`,
    [await hash(key, COSTS.first), fleet, used + 1_000, used, expiresIn, isActive],
  );
  return { id: row?.id as string, key };
}

async function newRow(i: number): Promise<Row> {
  const uuid = randomUUID();
  const deviceApiKey = randomBytes(i === LONG_KEY ? 40 : 32).toString('hex');
  const mqttPassword = randomBytes(16).toString('hex');
  const cost = i < FIRST ? COSTS.first : COSTS.rest;
  return {
    uuid,
    deviceApiKey,
    mqttPassword,
    // The username kept the spelling that the device had sent.
    username: `device_${spellingOf(i, uuid)}`,
    fleet: FLEETS[i % FLEETS.length] as string,
    brokerId: i % 3 === 0 ? 1 : null,
    keyHash: await hash(deviceApiKey, cost),
    passwordHash: await hash(mqttPassword, cost),
  };
}

async function addDevices(sql: Berth['sql'], rows: Row[], keyId: string): Promise<void> {
  const column = (name: keyof Row) => rows.map((row) => row[name]);
  await sql(
    `insert into devices (uuid, device_name, device_type, fleet_id, provisioned_by_key_id, device_api_key_hash,
                          mqtt_broker_id, mac_address, os_version, ip_address, memory_usage, cpu_temp, top_processes)
     select uuid, 'Pump ' || n, 'raspberry-pi', fleet, $1, hash,
            broker, '02:00:00:00:00:01', 'Linux 6', '10.0.0.7', n * 1000, n / 7.0, '[{"pid": 1}]'
     from unnest($2::uuid[], $3::text[], $4::text[], $5::integer[]) with ordinality d (uuid, fleet, hash, broker, n)`,
    [keyId, column('uuid'), column('fleet'), column('keyHash'), column('brokerId')],
  );
  await sql(`insert into mqtt_users (username, password_hash) select * from unnest($1::text[], $2::text[])`, [
    column('username'),
    column('passwordHash'),
  ]);
  await sql(
    `insert into mqtt_acls (username, topic, access)
     select name, 'iot/device/' || substr(name, 8) || '/#', 7 from unnest($1::text[]) name`,
    [column('username')],
  );
}
