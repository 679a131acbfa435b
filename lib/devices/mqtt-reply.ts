import { hash } from 'node:crypto';
import * as z from 'zod/mini';
import { BROKER_SOURCES, type ResolvedBroker } from '../resolution/broker-row.ts';
import { brokerConfig, buildBrokerUrl, formatBrokerConfigForClient } from '../resolution/client-config.ts';

/** What a device needs to connect: the same from registering and from `GET /device/{uuid}/mqtt`. */
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
  version: z
    .string()
    .check(z.meta({ description: 'Changes with anything that the device must act on; in quotes it is the ETag' })),
});
export type MqttReply = z.output<typeof mqttReply>;

const USERNAME_PREFIX = 'device_';

/** The MQTT username of a device that registers now; it stays the device's `mqtt_username`. */
export function mqttUsername(uuid: string): string {
  return USERNAME_PREFIX + uuid;
}

/** The topic filter that a device may publish and subscribe to, with the uuid in the spelling of the username. */
export function deviceTopic(username: string): string {
  return `iot/device/${username.slice(USERNAME_PREFIX.length)}/#`;
}

/** The `mqtt` object of a reply. Its text is the same each time while nothing changes. */
export function formatMqtt(username: string, password: string | undefined, broker: ResolvedBroker): MqttReply {
  const topics = [deviceTopic(username)];
  const environment = broker.source === 'environment';
  const connection = {
    username,
    ...(password ? { password } : {}),
    broker: environment ? broker.url : buildBrokerUrl(broker.row),
    ...(environment ? {} : { brokerConfig: formatBrokerConfigForClient(broker.row) }),
    topics: { publish: topics, subscribe: topics },
  };
  const assignment = {
    source: broker.source,
    brokerId: environment ? null : broker.row.id,
    brokerName: environment ? null : broker.row.name,
  };
  return { ...connection, assignment, version: versionOf(connection) };
}

/** 96 bits. Why the broker was chosen, and its name, are not in it: a device has nothing to do when only these change. */
function versionOf(connection: object): string {
  return hash('sha256', JSON.stringify(connection), 'base64url').slice(0, 16);
}
