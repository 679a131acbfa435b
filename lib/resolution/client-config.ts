import * as z from 'zod/mini';
import type { BrokerRow } from './broker-row.ts';

/** The connection settings that a client gets: never a password, never a private key. */
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

/** `protocol://host:port`, an IPv6 address in brackets. */
export function buildBrokerUrl({ protocol, host, port }: Pick<BrokerRow, 'protocol' | 'host' | 'port'>): string {
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * A broker's row as the connection settings that a device gets. A column that a legacy row left NULL gets the column's
 * default. `clientCert` is left out: its key never leaves Berth, and a certificate without its key is of no use.
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
