import * as z from 'zod/mini';
import type { Context } from '../context.ts';
import { hashCandidates } from '../crypto/hash.ts';
import { isBcrypt } from '../crypto/legacy-hash.ts';
import { query } from '../database/db.ts';
import { violates } from '../database/violates.ts';
import {
  deviceAlreadyRegistered,
  deviceInactive,
  deviceInOtherFleet,
  invalidProvisioningKey,
  invalidRequest,
  Problem,
  provisioningKeyExhausted,
  provisioningKeyExpired,
  provisioningKeyRevoked,
  unauthorized,
} from '../errors.ts';
import { recordEvents } from '../events/record.ts';
import { count } from '../metrics.ts';
import { findLegacyKey } from '../provisioning-keys/find-legacy.ts';
import { shapeOf } from '../provisioning-keys/shape.ts';
import {
  type BrokerColumns,
  countResolution,
  getBrokerConfigForDevice,
  noBroker,
  resolvedBroker,
  withBrokerLookup,
} from '../resolution/resolve.ts';
import { settings } from '../settings/settings.ts';
import { type Credentials, currentPassword, newCredentials, renewCredentials } from './credentials.ts';
import { type HandedColumns, handSettings } from './hand.ts';
import type { Registration } from './input.ts';
import { limitComparison } from './limit-comparison.ts';
import { deviceTopic, formatMqtt, mqttReply, mqttUsername } from './mqtt-reply.ts';
import { refusal } from './refuse.ts';
import { type ReportedColumns, recordReported, storedTags } from './report.ts';
import { secondsBlockedByGuesses, verifyDeviceKey } from './verify-key.ts';

export const registerReply = z.object({
  id: z.int(),
  uuid: z.string(),
  deviceName: z.nullable(z.string()),
  deviceType: z.nullable(z.string()),
  applicationId: z.optional(z.union([z.string(), z.int()])),
  fleetId: z.nullable(z.string()),
  createdAt: z.nullable(z.string().check(z.meta({ format: 'date-time' }))),
  mqtt: mqttReply,
});

type ProvisioningKey = {
  key_fleet_id: string;
  key_is_active: boolean | null;
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
  created_at: Date | null;
  provisioned_by_key_id: string | null;
  mqtt_username: string | null;
  mqtt_password_salt: string | null;
  device_api_key_hash: string | null;
  blocked_seconds: number | null;
} & HandedColumns &
  ReportedColumns;
/** What the statement found and did, as one row. Null: no such provisioning key, no device. */
type Outcome = (ProvisioningKey | { key_fleet_id: null }) &
  (Device | { id: null }) &
  BrokerColumns & {
    /** Whether the device is new. */
    created: boolean;
    /** Whether the key had room and a broker resolved when the statement began. */
    claimable: boolean;
  };

/**
 * Registers a device, or returns again what it was given: same uuid and device key, same credentials. What a registered
 * device says of itself is written if it has changed. In this order: the
 * provisioning key (401), the device (409, 403), the broker (503). A refusal writes its event and nothing else.
 *
 * @returns the reply's body, and whether the device was registered before
 * @throws Problem those that functions/register.ts lists
 */
export async function register(ctx: Context, input: Registration, provisioningKey: string | undefined) {
  if (!provisioningKey) throw new Problem(unauthorized, SEND_KEY);
  ctx.actor = `device:${input.uuid}`;
  const { keyId, keyHashes } = await identifyKey(ctx, input.uuid, provisioningKey);
  const fresh = await newCredentials(input.deviceApiKey);

  const outcome = await registerOrFind(ctx, input, keyId, keyHashes, fresh);
  const key = outcome.key_fleet_id === null ? undefined : outcome;
  const device = outcome.id === null ? undefined : outcome;

  if (!key) throw await refusal(ctx, new Problem(invalidProvisioningKey), { uuid: input.uuid });
  const broker = resolvedBroker(outcome);
  countResolution(broker);
  const who = { uuid: input.uuid, fleetId: key.key_fleet_id, keyId };
  const keyProblem = problemOf(key);
  if (!device) {
    if (!keyProblem && !broker) throw noBroker();
    // Without a problem of its own, the key's last place went to another device while the statement ran.
    throw await refusal(ctx, keyProblem ?? usedUp(), who);
  }
  const { created } = outcome;
  if (!created) {
    const replayProblem = await problemOfReplay(ctx, input, keyId, key, device);
    if (replayProblem) throw await refusal(ctx, replayProblem, who);
  }
  if (!broker) throw noBroker();

  const login = created
    ? { username: mqttUsername(device.uuid), password: fresh.password }
    : await loginOfReplay(ctx, input, device, fresh);
  if (!created) {
    await recordReported(ctx, device, input);
    await handSettings(ctx, device, broker, false);
  }
  count(created ? 'Registered' : 'RegistrationReplayed');
  return { body: formatReply(input, device, formatMqtt(login.username, login.password, broker)), replayed: !created };
}

const SEND_KEY = 'Send the provisioning key as `Authorization: Bearer KEY` or `X-Provisioning-Key: KEY`.';

/**
 * The id that the key names, and the hashes of which its row must have one. The first is stored from now on.
 * @throws Problem `invalid-provisioning-key` when it names no row
 */
async function identifyKey(ctx: Context, uuid: string, key: string): Promise<{ keyId: string; keyHashes: string[] }> {
  const shape = shapeOf(key);
  const keyHashes = hashCandidates(settings().peppers, 'provisioning-key', key);
  if (shape.kind === 'current') return { keyId: shape.id, keyHashes };
  const found =
    shape.kind === 'legacy' ? await findLegacyKey(ctx, key, (compare) => limitComparison(ctx, compare)) : undefined;
  if (!found) throw await refusal(ctx, new Problem(invalidProvisioningKey), { uuid });
  return { keyId: found.id, keyHashes: isBcrypt(found.key_hash) ? [found.key_hash, ...keyHashes] : keyHashes };
}

const MAX_ATTEMPTS = 4;

/** Runs the statement again when a concurrent request interfered: what that request committed is visible then. */
async function registerOrFind(
  ctx: Context,
  input: Registration,
  keyId: string,
  keyHashes: string[],
  credentials: Credentials,
): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    const isLast = attempt === MAX_ATTEMPTS;
    try {
      const outcome = await withBrokerLookup((lookup) =>
        runStatement(ctx, input, keyId, keyHashes, credentials, lookup),
      );
      // Claimable, and yet no device: another request took the last place, perhaps for this very device.
      const isOvertaken = outcome.claimable && outcome.id === null;
      if (!isOvertaken || isLast) return outcome;
    } catch (error) {
      // berth_uuid() is NULL where devices.uuid is of type uuid and the identifier is not an RFC 4122 uuid.
      if (violates(error, 'not-null', 'uuid')) throw notRfc4122();
      // Another request registered the same uuid, or deleted the broker. Nothing was written.
      const isConflict = violates(error, 'unique') || violates(error, 'foreign-key');
      if (!isConflict || isLast) throw error;
    }
  }
}

/**
 * The registration, all or nothing: claims a place on the key, and only then inserts the device, its MQTT user, its ACL and
 * its event. The claim comes first because a clause that inserts first keeps its row when the claim then fails.
 * Registrations with one key wait for each other from the claim on.
 */
async function runStatement(
  ctx: Context,
  input: Registration,
  keyId: string,
  keyHashes: string[],
  credentials: Credentials,
  lookup: boolean,
): Promise<Outcome> {
  const username = mqttUsername(input.uuid);
  const { mqttBrokerUrl, autoAssignBroker } = settings();
  const tags = storedTags(input);
  const [outcome] = await query<Outcome>(
    ctx,
    (sql) => sql`
      with key as (
        select id, fleet_id as key_fleet_id, is_active as key_is_active, expires_at > berth_now() as in_time,
               coalesce(devices_provisioned, 0) < max_devices as has_room
        from provisioning_keys
        -- Compared here: reading the key first would be a second round trip, 40 % of the throughput.
        where id = ${keyId} and key_hash = any(${keyHashes}::text[])
      ), existing as (
        select id, uuid, device_name, device_type, fleet_id, is_active, created_at at time zone 'utc' as created_at,
               mqtt_username, mqtt_password_salt, device_api_key_hash, mqtt_broker_id, provisioned_by_key_id,
               handed_broker_id, handed_settings, null::float8 as former_seconds_left,
               ${secondsBlockedByGuesses(sql, input.uuid)} as blocked_seconds,
               json_build_object('mac_address', mac_address, 'os_version', os_version, 'region', region, 'tags', tags,
                 'supervisor_version', supervisor_version) as reported
        from devices where uuid = berth_uuid(${input.uuid})
      ), subject as (
        -- Whose broker is looked up: the device that there is, or the one to be inserted.
        select ${input.uuid}::text as uuid, existing.mqtt_broker_id,
               coalesce(existing.provisioned_by_key_id, key.id) as provisioned_by_key_id, existing.id is null as is_new
        from (select) one left join existing on true left join key on true
      ), broker as (
        ${getBrokerConfigForDevice(sql, sql`subject`, lookup)}
      ), claimable as materialized (
        select id, key_fleet_id as fleet_id from key
        where key_is_active and in_time and has_room and not exists (select from existing)
          and (exists (select from broker) or ${mqttBrokerUrl !== undefined})
      ), claimed as (
        select id, fleet_id from claimable where berth_claim_place(id, ${keyHashes[0] as string})
      ), device as (
        insert into devices (
          uuid, device_name, device_type, mac_address, os_version, supervisor_version, region, tags, fleet_id, is_active,
          created_at, modified_at, provisioned_at, provisioned_by_key_id,
          device_api_key_hash, mqtt_username, mqtt_password_salt, mqtt_broker_id, mqtt_broker_assigned_at,
          handed_broker_id, handed_settings, handed_at)
        select
          berth_uuid(${input.uuid}), ${input.deviceName}, ${input.deviceType}, ${input.macAddress ?? null},
          ${input.osVersion ?? null}, ${input.supervisorVersion ?? null}, ${input.region ?? null}, ${tags && sql.json(tags)}::jsonb,
          claimed.fleet_id, true,
          berth_now(), berth_now(), berth_now(), claimed.id,
          ${credentials.keyHash}, ${username}, ${credentials.salt},
          case when is_assigned then broker_id end, case when is_assigned then now() end,
          broker_id, settings_hash, now()
        from claimed
        left join (
          select *, broker_source = 'provisioning_key' or ${autoAssignBroker} as is_assigned from broker
        ) broker on true
        returning id, uuid, device_name, device_type, fleet_id, is_active, created_at at time zone 'utc' as created_at,
                  mqtt_username, mqtt_password_salt, device_api_key_hash, mqtt_broker_id, provisioned_by_key_id,
                  handed_broker_id, handed_settings, null::float8 as former_seconds_left, null::integer as blocked_seconds,
                  null::json as reported
      ), mqtt_user as (
        insert into mqtt_users (username, password_hash, is_superuser, is_active, created_at, updated_at)
        select mqtt_username, ${credentials.passwordHash}, false, true, berth_now(), berth_now() from device
        on conflict (username) do update
          set password_hash = excluded.password_hash, is_superuser = false, is_active = true, updated_at = excluded.updated_at
      ), leftover_acl as (
        delete from mqtt_acls where username = ${username} and exists (select from device)
      ), acl as (
        insert into mqtt_acls (username, topic, access, priority, created_at)
        select mqtt_username, ${deviceTopic(username)}, 7, 0, berth_now() from device
      ), event as (
        ${recordEvents(
          sql,
          ctx,
          sql`
            select 'registered' as type, uuid::text as device_uuid, id as device_id, fleet_id,
                   coalesce(broker_source, 'environment') as reason,
                   null::integer as from_broker_id, broker_id as to_broker_id
            from device left join broker on true`,
        )}
      ), found as (
        select * from device union all select * from existing
      )
      select key_fleet_id, key_is_active, in_time, has_room, found.*, broker_source, broker,
             exists (select from device) as created, exists (select from claimable) as claimable
      from (select) one left join key on true left join found on true left join broker on true`,
  );
  return outcome as Outcome;
}

const usedUp = () => new Problem(provisioningKeyExhausted, 'Provisioning key device limit exceeded');

function problemOf(key: ProvisioningKey): Problem | undefined {
  if (!key.key_is_active) return new Problem(provisioningKeyRevoked, 'Provisioning key has been revoked');
  if (!key.in_time) return new Problem(provisioningKeyExpired, 'Provisioning key has expired');
  return key.has_room ? undefined : usedUp();
}

/**
 * Why a registered device does not get its credentials again. With its own key it does, even if the provisioning key is
 * used up or expired by now, but not if it is revoked.
 */
async function problemOfReplay(
  ctx: Context,
  input: Registration,
  keyId: string,
  key: ProvisioningKey,
  device: Device,
): Promise<Problem | undefined> {
  const keyProblem = problemOf(key);
  if (keyProblem?.code === provisioningKeyRevoked.code) return keyProblem;
  if (!(await verifyDeviceKey(ctx, input.deviceApiKey, device))) {
    // As in the legacy service, the problem of the key comes first.
    return keyProblem ?? new Problem(deviceAlreadyRegistered, 'This device is already registered');
  }
  // An operator may have changed its fleet: the key that it registered with stays its own.
  const isItsKey = device.provisioned_by_key_id === keyId;
  if (!isItsKey && device.fleet_id !== null && device.fleet_id !== key.key_fleet_id)
    return new Problem(deviceInOtherFleet);
  return device.is_active === false ? new Problem(deviceInactive) : undefined;
}

/** The credentials that the device has, or new ones where Berth does not know them. */
async function loginOfReplay(ctx: Context, input: Registration, device: Device, fresh: Credentials) {
  const password = currentPassword(device, input.deviceApiKey);
  if (password) return { username: device.mqtt_username ?? mqttUsername(device.uuid), password };
  return renewCredentials(ctx, device, input.deviceApiKey, fresh);
}

function notRfc4122(): Problem {
  const message = 'must be an RFC 4122 uuid: the devices table of this installation holds no others';
  return new Problem(invalidRequest, `uuid ${message}.`, { errors: [{ path: 'uuid', message }] });
}

function formatReply(
  { applicationId, deviceName, deviceType }: Registration,
  device: Device,
  mqtt: z.output<typeof mqttReply>,
) {
  return {
    id: device.id,
    uuid: device.uuid,
    deviceName,
    deviceType,
    ...(applicationId === undefined || applicationId === null ? {} : { applicationId }),
    fleetId: device.fleet_id,
    createdAt: device.created_at?.toISOString() ?? null,
    mqtt,
  };
}
