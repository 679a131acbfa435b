import type { BrokerConfig, BrokerRow } from './broker-row.ts';

/** `protocol://host:port`, an IPv6 address in brackets. */
export function buildBrokerUrl({ protocol, host, port }: Pick<BrokerRow, 'protocol' | 'host' | 'port'>): string {
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * A broker's row as the connection settings that a device gets. Columns that a legacy row left NULL
 * become the defaults of its columns. `clientCert` is left out: the key to it never leaves, and half of
 * a pair connects nobody.
 */
export function formatBrokerConfigForClient(row: BrokerRow): BrokerConfig {
  return {
    protocol: row.protocol as BrokerConfig['protocol'],
    host: row.host,
    port: row.port,
    useTls: row.use_tls ?? false,
    verifyCertificate: row.verify_certificate ?? true,
    clientIdPrefix: row.client_id_prefix ?? 'berth',
    keepAlive: row.keep_alive ?? 60,
    cleanSession: row.clean_session ?? true,
    reconnectPeriod: row.reconnect_period ?? 1000,
    connectTimeout: row.connect_timeout ?? 30_000,
    ...(row.ca_cert ? { caCert: row.ca_cert } : {}),
  };
}
