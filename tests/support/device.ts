import { connect, type IClientOptions, type MqttClient } from 'mqtt';

/** The `mqtt` object of a reply. */
export type Settings = {
  username: string;
  password: string;
  broker: string;
  brokerConfig: {
    clientIdPrefix: string;
    keepAlive: number;
    cleanSession: boolean;
    verifyCertificate: boolean;
    caCert?: string;
  };
  topics: { publish: string[]; subscribe: string[] };
};

export type Inbox = {
  /** The topics of all received messages. */
  topics: () => string[];
  /** Waits for a message on the topic; returns the payload of the last one. */
  arrives: (topic: string) => Promise<string>;
};
export type DeviceClient = MqttClient & { inbox: Inbox };

/**
 * Connects like a device, with the settings that it received.
 *
 * @param options what only the device knows (its own certificate), and deliberate mistakes of a test
 * @returns rejects at the first refusal
 */
export function connectDevice(uuid: string, settings: Settings, options: IClientOptions = {}): Promise<DeviceClient> {
  const { username, password, broker, brokerConfig } = settings;
  const client = connect(broker, {
    username,
    password,
    clientId: `${brokerConfig.clientIdPrefix}_${uuid}`,
    keepalive: brokerConfig.keepAlive,
    clean: brokerConfig.cleanSession,
    rejectUnauthorized: brokerConfig.verifyCertificate,
    ...(brokerConfig.caCert ? { ca: brokerConfig.caCert } : {}),
    connectTimeout: 5_000,
    reconnectPeriod: 0,
    ...options,
  });
  // Listen before the connection is open: a resumed session delivers its messages immediately.
  const inbox = inboxOf(client);
  return new Promise((resolve, reject) => {
    client.once('connect', () => resolve(Object.assign(client, { inbox })));
    client.on('error', reject);
    client.once('close', () => reject(new Error('closed without an answer')));
  });
}

/** The message of the refusal; `connected` if the broker accepts the device. */
export async function refusalOf(uuid: string, settings: Settings, options?: IClientOptions): Promise<string> {
  try {
    const client = await connectDevice(uuid, settings, options);
    await client.endAsync(true);
    return 'connected';
  } catch (error) {
    return (error as Error).message;
  }
}

function inboxOf(client: MqttClient): Inbox {
  const payloads = new Map<string, string>();
  client.on('message', (topic, payload) => payloads.set(topic, payload.toString()));
  return {
    topics: () => [...payloads.keys()],
    arrives: async (topic) => {
      for (const end = Date.now() + 5_000; !payloads.has(topic); ) {
        if (Date.now() > end) throw new Error(`nothing arrived on ${topic}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return payloads.get(topic) as string;
    },
  };
}
