import * as z from 'zod/mini';
import { BROKER_SOURCES, brokerConfig } from '../brokers/schema.ts';
import { deviceUuid, optionalText, requiredText, text } from '../schema.ts';

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
