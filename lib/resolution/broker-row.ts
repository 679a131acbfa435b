import * as z from 'zod/mini';

/** Where a broker came from: the steps of the resolution, in their order. */
export const BROKER_SOURCES = ['device', 'provisioning_key', 'default', 'environment'] as const;
export type BrokerSource = (typeof BROKER_SOURCES)[number];

/** The columns of mqtt_broker_config that a client's connection settings are made of. */
export type BrokerRow = {
  id: number;
  name: string;
  protocol: string;
  host: string;
  port: number;
  use_tls: boolean | null;
  verify_certificate: boolean | null;
  client_id_prefix: string | null;
  keep_alive: number | null;
  clean_session: boolean | null;
  reconnect_period: number | null;
  connect_timeout: number | null;
  ca_cert: string | null;
};

/** A broker and how it was found. `environment` has no row: only MQTT_BROKER_URL is known of it. */
export type ResolvedBroker =
  | { source: Exclude<BrokerSource, 'environment'>; row: BrokerRow }
  | { source: 'environment'; url: string };

/** The connection settings as a client gets them: never a password, never a private key. */
export const brokerConfig = z.object({
  protocol: z.enum(['mqtt', 'mqtts', 'ws', 'wss']),
  host: z.string(),
  port: z.int(),
  useTls: z.boolean(),
  verifyCertificate: z.boolean(),
  clientIdPrefix: z.string(),
  keepAlive: z.int().check(z.meta({ description: 'Seconds' })),
  cleanSession: z.boolean(),
  reconnectPeriod: z.int().check(z.meta({ description: 'Milliseconds' })),
  connectTimeout: z.int().check(z.meta({ description: 'Milliseconds' })),
  caCert: z.optional(z.string().check(z.meta({ description: 'PEM; absent: the system’s CAs' }))),
  clientCert: z.optional(z.string().check(z.meta({ description: 'PEM' }))),
});
export type BrokerConfig = z.output<typeof brokerConfig>;
