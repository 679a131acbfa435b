import type { Context } from '../context.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { isBcrypt } from '../crypto/legacy-hash.ts';
import { query, type Sql } from '../database/db.ts';
import {
  deviceAlreadyRegistered,
  deviceInactive,
  deviceInOtherFleet,
  invalidProvisioningKey,
  noBrokerAvailable,
  Problem,
  provisioningKeyExhausted,
  provisioningKeyExpired,
  provisioningKeyRevoked,
  unauthorized,
} from '../errors.ts';
import { count } from '../metrics.ts';
import { findLegacyKey } from '../provisioning-keys/find-legacy.ts';
import { shapeOf } from '../provisioning-keys/input.ts';
import type { ResolvedBroker } from '../resolution/broker-row.ts';
import {
  type BrokerColumns,
  getBrokerConfigForDevice,
  resolvedBroker,
  withBrokerLookup,
} from '../resolution/resolve.ts';
import { type Settings, settings } from '../settings/settings.ts';
import { type Credentials, type Login, newCredentials, passwordOf, renewCredentials } from './credentials.ts';
import type { Registration } from './input.ts';
import { deviceTopic, formatMqtt, mqttUsername } from './mqtt-reply.ts';
import { mayCompareSlowly, refuse } from './refuse.ts';
import { verifyDeviceKey } from './verify-key.ts';

type ProvisioningKey = {
  id: string;
  fleet_id: string;
  is_active: boolean | null;
  in_time: boolean;
  has_room: boolean | null;
};
type Device = {
  id: number;
  uuid: string;
  device_name: string | null;
  device_type: string | null;
  fleet_id: string | null;
  is_active: boolean | null;
  created_at: string | null;
  mqtt_username: string | null;
  mqtt_password_salt: string | null;
  device_api_key_hash: string | null;
};
/** What the one statement found and did; `created` tells whether the device is new. */
type Outcome = { key: ProvisioningKey | null; device: Device | null; created: boolean } & BrokerColumns;

/** A race is settled by looking again: what the other request committed is visible then. */
const MAX_ATTEMPTS = 4;

/**
 * Registers a device, or answers again what it was answered: same uuid and device key, same credentials.
 *
 * @returns the reply's body and whether it is a repetition
 * @throws Problem 401 about the provisioning key, then 409 about the device, 403 when it is inactive,
 *   503 `no-broker-available`; nothing is written then but the refusal
 */
export async function register(ctx: Context, input: Registration, provisioningKey: string | undefined) {
  if (!provisioningKey) {
    throw new Problem(
      unauthorized,
      'Send the provisioning key as `Authorization: Bearer KEY` or `X-Provisioning-Key: KEY`.',
    );
  }
  ctx.actor = `device:${input.uuid}`;
  const current = settings();
  const { keyId, keyHashes } = await lookUpKey(ctx, input, provisioningKey);
  const credentials = await newCredentials(input.deviceApiKey);
  const outcome = await settle(
    ctx,
    current,
    (lookup) => (sql) =>
      registerStatement(sql, ctx, { input, settings: current, keyId, keyHashes, credentials, lookup }),
  );

  const { key, device, created } = outcome;
  if (!key) return refuse(ctx, new Problem(invalidProvisioningKey), { uuid: input.uuid });
  const broker = resolvedBroker(outcome, current.mqttBrokerUrl);
  if (!device) throw await whyNot(ctx, input, key, broker);
  const login = created
    ? { username: mqttUsername(device.uuid), password: credentials.password }
    : await replay(ctx, input, key, device, credentials);
  if (!broker) throw new Problem(noBrokerAvailable);

  count(created ? 'Registered' : 'RegistrationReplayed');
  return { body: formatReply(input, device, login, broker), replayed: !created };
}

/** The row that a key names, and the hashes of which one must be stored there; the first is what stays there. */
async function lookUpKey(ctx: Context, { uuid }: Registration, key: string) {
  const shape = shapeOf(key);
  const keyHashes = hashCandidates(settings().peppers, 'provisioning-key', key);
  if (shape.kind === 'current') return { keyId: shape.id, keyHashes };
  const { code } = invalidProvisioningKey;
  const found =
    shape.kind === 'legacy' ? await findLegacyKey(ctx, key, () => mayCompareSlowly(ctx, { code, uuid })) : undefined;
  if (!found) return refuse(ctx, new Problem(invalidProvisioningKey), { uuid });
  return { keyId: found.id, keyHashes: isBcrypt(found.key_hash) ? [found.key_hash, ...keyHashes] : keyHashes };
}

/** Runs the statement until no concurrent request has changed what it saw. */
async function settle(
  ctx: Context,
  { mqttBrokerUrl }: Settings,
  statement: (lookup: boolean) => (sql: Sql) => ReturnType<typeof registerStatement>,
): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    try {
      const [outcome] = await withBrokerLookup(mqttBrokerUrl, (lookup) => query<Outcome>(ctx, statement(lookup)));
      const { key, device, broker } = outcome as Outcome;
      // The key had room in the snapshot and yet nothing came of it: another request took the last place,
      // perhaps this very device's.
      const overtaken = key?.is_active && key.in_time && key.has_room && !device && (broker || mqttBrokerUrl);
      if (!overtaken || attempt === MAX_ATTEMPTS) return outcome as Outcome;
    } catch (error) {
      // 23505: another request has just registered the same uuid. 23503: the broker has just been deleted. All of
      // this one is rolled back.
      const code = String((error as { code?: unknown }).code);
      if (!['23505', '23503'].includes(code) || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

type Parts = {
  input: Registration;
  settings: Settings;
  keyId: string;
  keyHashes: string[];
  credentials: Credentials;
  lookup: boolean;
};

/**
 * The registration, all or nothing: claim a place on the key, and only with it insert the device, its
 * MQTT user, its ACL and its event. The claim comes first because a data-modifying CTE that inserts
 * first keeps its row when the claim then fails. Registrations of one key wait for each other from there on.
 */
function registerStatement(sql: Sql, ctx: Context, { input, settings, keyId, keyHashes, credentials, lookup }: Parts) {
  const username = mqttUsername(input.uuid);
  const broker = getBrokerConfigForDevice(
    sql,
    lookup
      ? {
          device: sql`(select mqtt_broker_id from existing)`,
          provisioningKey: sql`(
            select default_broker_id from provisioning_keys
            where id = coalesce((select provisioned_by_key_id from existing), (select id from key)))`,
          isNew: sql`not exists (select from existing)`,
        }
      : undefined,
  );
  return sql<Outcome[]>`
    with key as (
      select id, fleet_id, is_active, expires_at > now() at time zone 'utc' as in_time,
             coalesce(devices_provisioned, 0) < max_devices as has_room
      from provisioning_keys
      where id = ${keyId} and key_hash = any(string_to_array(${keyHashes.join(',')}, ','))
    ), existing as (
      select * from devices where uuid = berth_uuid(${input.uuid})
    ), broker as (
      ${broker}
    ), free as materialized (
      select id, fleet_id from key
      where is_active and in_time and has_room and not exists (select from existing)
        and (exists (select from broker) or ${settings.mqttBrokerUrl !== undefined})
    ), claim as (
      select id, fleet_id from free where berth_claim_place(id, ${keyHashes[0] as string})
    ), device as (
      insert into devices (
        uuid, device_name, device_type, mac_address, os_version, supervisor_version, fleet_id, is_active,
        created_at, modified_at, provisioned_at, provisioned_by_key_id,
        device_api_key_hash, mqtt_username, mqtt_password_salt, mqtt_broker_id, mqtt_broker_assigned_at)
      select
        berth_uuid(${input.uuid}), ${input.deviceName}, ${input.deviceType}, ${input.macAddress ?? null},
        ${input.osVersion ?? null}, ${input.supervisorVersion ?? null}, claim.fleet_id, true,
        now() at time zone 'utc', now() at time zone 'utc', now() at time zone 'utc', claim.id,
        ${credentials.keyHash}, ${username}, ${credentials.salt}, assigned.id, case when assigned.id is not null then now() end
      from claim
      left join lateral (
        select (broker ->> 'id')::integer as id from broker
        where broker_source = 'provisioning_key' or ${settings.autoAssignBroker}
      ) assigned on true
      returning *
    ), mqtt_user as (
      insert into mqtt_users (username, password_hash, is_superuser, is_active, created_at, updated_at)
      select mqtt_username, ${credentials.passwordHash}, false, true, now() at time zone 'utc', now() at time zone 'utc' from device
      on conflict (username) do update
        set password_hash = excluded.password_hash, is_superuser = false, is_active = true, updated_at = excluded.updated_at
    ), leftover_acl as (
      delete from mqtt_acls where username = ${username} and exists (select from device)
    ), acl as (
      insert into mqtt_acls (username, topic, access, priority, created_at)
      select mqtt_username, ${deviceTopic(username)}, 7, 0, now() at time zone 'utc' from device
    ), event as (
      insert into device_events (type, device_uuid, fleet_id, actor, reason, to_broker_id, source_ip, request_id)
      select 'registered', ${input.uuid}, fleet_id, ${ctx.actor}, coalesce((select broker_source from broker), 'environment'),
             (select (broker ->> 'id')::integer from broker), ${ctx.sourceIp}, ${ctx.requestId}
      from device
    ), found as (
      select * from device union all select * from existing
    )
    select (select row_to_json(key) from key) as key,
           (select json_build_object(
              'id', id, 'uuid', uuid, 'device_name', device_name, 'device_type', device_type, 'fleet_id', fleet_id,
              'is_active', is_active, 'created_at', created_at at time zone 'utc', 'mqtt_username', mqtt_username,
              'mqtt_password_salt', mqtt_password_salt, 'device_api_key_hash', device_api_key_hash
            ) from found) as device,
           exists (select from device) as created,
           (select broker_source from broker) as broker_source,
           (select broker from broker) as broker`;
}

/** Why a device that is not there was not made: the key's fault, or no broker. */
async function whyNot(
  ctx: Context,
  { uuid }: Registration,
  key: ProvisioningKey,
  broker: ResolvedBroker | undefined,
): Promise<Problem> {
  const problem = keyProblem(key);
  if (!problem && !broker) return new Problem(noBrokerAvailable);
  return refuse(ctx, problem ?? usedUp(), { uuid, fleetId: key.fleet_id });
}

const usedUp = () => new Problem(provisioningKeyExhausted, 'Provisioning key device limit exceeded');

function keyProblem(key: ProvisioningKey): Problem | undefined {
  if (!key.is_active) return new Problem(provisioningKeyRevoked, 'Provisioning key has been revoked');
  if (!key.in_time) return new Problem(provisioningKeyExpired, 'Provisioning key has expired');
  return key.has_room ? undefined : usedUp();
}

/**
 * The device is there already: with its own key it gets its password again, even if the provisioning key
 * is used up or expired by now (but not revoked).
 *
 * @returns its MQTT credentials
 */
async function replay(
  ctx: Context,
  input: Registration,
  key: ProvisioningKey,
  device: Device,
  fresh: Credentials,
): Promise<Login> {
  const who = { uuid: input.uuid, fleetId: key.fleet_id };
  const no = (problem: Problem) => refuse(ctx, problem, who);
  const unusable = keyProblem(key);
  if (unusable?.code === provisioningKeyRevoked.code) return no(unusable);
  if (!(await verifyDeviceKey(ctx, input.deviceApiKey, device, deviceAlreadyRegistered))) {
    // As with the legacy service, the key is judged before the device.
    return no(unusable ?? new Problem(deviceAlreadyRegistered, 'This device is already registered'));
  }
  if (device.fleet_id !== null && device.fleet_id !== key.fleet_id) return no(new Problem(deviceInOtherFleet));
  if (device.is_active === false) return no(new Problem(deviceInactive));
  const password = passwordOf(device, input.deviceApiKey);
  const username = device.mqtt_username ?? mqttUsername(device.uuid);
  return password ? { username, password } : renewCredentials(ctx, device, input.deviceApiKey, fresh);
}

function formatReply({ applicationId }: Registration, device: Device, login: Login, broker: ResolvedBroker) {
  return {
    id: device.id,
    uuid: device.uuid,
    deviceName: device.device_name,
    deviceType: device.device_type,
    ...(applicationId === undefined || applicationId === null ? {} : { applicationId }),
    fleetId: device.fleet_id,
    createdAt: device.created_at && new Date(device.created_at).toISOString(),
    mqtt: formatMqtt(login.username, login.password, broker),
  };
}
