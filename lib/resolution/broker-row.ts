/** Where a broker came from: the steps of the resolution. */
export const BROKER_SOURCES = ['device', 'provisioning_key', 'default', 'environment'] as const;
export type BrokerSource = (typeof BROKER_SOURCES)[number];
/** The sources that the database knows. */
export type TableSource = Exclude<BrokerSource, 'environment'>;

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
  /** Changes with what a client sees of the broker. */
  settings_hash: string;
};

/** A broker and the step that found it. `environment` has no row: only MQTT_BROKER_URL is known. */
export type ResolvedBroker = { source: TableSource; row: BrokerRow } | { source: 'environment'; url: string };
