import * as z from 'zod/mini';
import { deviceUuid, optionalText, requiredText, text } from '../fields.ts';
import { BROKER_SOURCES, brokerConfig } from '../resolution/broker-row.ts';

const applicationId = z.optional(
  z.nullable(
    z.union([text(255, 'Echoed in the reply'), z.int()], {
      message: 'must be a whole number, or a string of at most 255 characters without NUL or unpaired surrogates',
    }),
  ),
);

/** Unknown fields are ignored: firmware in the field sends more than is asked for. */
export const registerBody = z.object({
  uuid: deviceUuid,
  deviceName: requiredText(255, 'Name for people'),
  deviceType: requiredText(100, 'Kind of device'),
  deviceApiKey: requiredText(255, 'The device’s own secret; made on the device, kept there'),
  applicationId,
  macAddress: optionalText(17, 'Such as aa:bb:cc:dd:ee:ff'),
  osVersion: optionalText(100, 'Operating system'),
  supervisorVersion: optionalText(100, 'Version of the agent'),
});
export type Registration = z.output<typeof registerBody>;

export const deviceParams = z.object({ uuid: deviceUuid });

/** What a device needs to connect: the same on registering and on `GET /device/{uuid}/mqtt`. */
export const mqttReply = z.object({
  username: z.string(),
  password: z.optional(
    z.string().check(z.meta({ description: 'Absent for a legacy device that keeps the password it has' })),
  ),
  broker: z.string().check(z.meta({ description: 'protocol://host:port' })),
  brokerConfig: z.optional(brokerConfig),
  topics: z.object({ publish: z.array(z.string()), subscribe: z.array(z.string()) }),
  assignment: z.object({
    source: z.enum(BROKER_SOURCES),
    brokerId: z.nullable(z.int()),
    brokerName: z.nullable(z.string()),
  }),
});
export type MqttReply = z.output<typeof mqttReply>;

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

/** A device as operators see it; the columns of the legacy service are all there but for the key's hash. */
export const deviceReply = z.looseObject({
  id: z.int(),
  uuid: z.string(),
  device_name: z.nullable(z.string()),
  device_type: z.nullable(z.string()),
  fleet_id: z.nullable(z.string()),
  is_active: z.nullable(z.boolean()),
  mqtt_broker_id: z.nullable(z.int()),
  mqtt_broker_assigned_at: z.nullable(z.string()),
  mqtt_username: z.nullable(z.string()),
  created_at: z.nullable(z.string()),
  modified_at: z.nullable(z.string()),
});

export const resolvedBrokerReply = z.nullable(
  z.object({
    source: z.enum(BROKER_SOURCES),
    id: z.nullable(z.int()),
    name: z.nullable(z.string()),
    url: z.string(),
  }),
);

export const explainedStep = z.object({
  step: z.int(),
  source: z.enum(BROKER_SOURCES),
  broker_id: z.nullable(z.int()),
  outcome: z.enum(['taken', 'skipped', 'not reached']),
  why: z.string(),
});

export const deviceEvent = z.object({
  id: z.int(),
  at: z.string(),
  type: z.string(),
  actor: z.nullable(z.string()),
  reason: z.nullable(z.string()),
  from_broker_id: z.nullable(z.int()),
  to_broker_id: z.nullable(z.int()),
  source_ip: z.nullable(z.string()),
  request_id: z.nullable(z.string()),
});
