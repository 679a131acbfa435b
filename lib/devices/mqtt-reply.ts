import type { ResolvedBroker } from '../resolution/broker-row.ts';
import { buildBrokerUrl, formatBrokerConfigForClient } from '../resolution/client-config.ts';
import type { MqttReply } from './input.ts';

const USERNAME_PREFIX = 'device_';

/** The MQTT username of a device that registers now; its `devices.mqtt_username` from then on. */
export function mqttUsername(uuid: string): string {
  return USERNAME_PREFIX + uuid;
}

/** The uuid in a device's MQTT username, spelt as it is there; undefined: the username of something else. */
export function uuidInUsername(username: string): string | undefined {
  return username.startsWith(USERNAME_PREFIX) ? username.slice(USERNAME_PREFIX.length) : undefined;
}

/** The topic filter that a device may publish and subscribe to; legacy devices kept the spelling of their username. */
export function deviceTopic(username: string): string {
  return `iot/device/${username.slice(USERNAME_PREFIX.length)}/#`;
}

/** The `mqtt` object of a reply. Its members' order is fixed: the ETag is made from the text. */
export function formatMqtt(username: string, password: string | undefined, broker: ResolvedBroker): MqttReply {
  const topics = [deviceTopic(username)];
  const environment = broker.source === 'environment';
  return {
    username,
    ...(password ? { password } : {}),
    broker: environment ? broker.url : buildBrokerUrl(broker.row),
    ...(environment ? {} : { brokerConfig: formatBrokerConfigForClient(broker.row) }),
    topics: { publish: topics, subscribe: topics },
    assignment: {
      source: broker.source,
      brokerId: environment ? null : broker.row.id,
      brokerName: environment ? null : broker.row.name,
    },
  };
}
