import * as z from 'zod/mini';
import type { Fragment, Sql } from '../database/db.ts';
import { describeCertificates } from '../mqtt/certificates.ts';

/** A listed broker: the columns of the legacy service, then those of Berth. */
export const listedBroker = z.object({
  id: z.int(),
  name: z.string(),
  description: z.nullable(z.string()),
  protocol: z.string(),
  host: z.string(),
  port: z.int(),
  username: z.nullable(z.string()),
  use_tls: z.nullable(z.boolean()),
  client_id_prefix: z.nullable(z.string()),
  keep_alive: z.nullable(z.int()),
  clean_session: z.nullable(z.boolean()),
  reconnect_period: z.nullable(z.int()),
  connect_timeout: z.nullable(z.int()),
  is_active: z.nullable(z.boolean()),
  is_default: z.nullable(z.boolean()),
  broker_type: z.nullable(z.string()),
  extra_config: z.nullable(z.record(z.string(), z.unknown())),
  created_at: z.nullable(z.string()),
  updated_at: z.nullable(z.string()),
  last_connected_at: z.nullable(z.string()),
  accepts_new_devices: z.boolean(),
  region: z.nullable(z.string()),
  allocation_weight: z.int(),
});

const certificate = z.object({ subject: z.string(), issuer: z.string(), expires_at: z.string() });

/** One broker: the listed columns and the long ones. Of secrets it says only whether they are stored. */
export const oneBroker = z.extend(listedBroker, {
  ca_cert: z.nullable(z.string()),
  client_cert: z.nullable(z.string()),
  verify_certificate: z.nullable(z.boolean()),
  has_password: z.boolean().check(z.meta({ description: 'Whether the connection test can send a password' })),
  has_client_key: z.boolean(),
  ca_cert_info: z.nullable(z.array(certificate)),
  client_cert_info: z.nullable(z.array(certificate)),
});

/** SQL for the columns of {@link listedBroker}, from the table or alias `b`. */
export function listedColumns(sql: Sql): Fragment {
  return sql`
    b.id, b.name, b.description, b.protocol, b.host, b.port, b.username, b.use_tls, b.client_id_prefix, b.keep_alive,
    b.clean_session, b.reconnect_period, b.connect_timeout, b.is_active, b.is_default, b.broker_type, b.extra_config,
    b.created_at at time zone 'utc' as created_at, b.updated_at at time zone 'utc' as updated_at,
    b.last_connected_at at time zone 'utc' as last_connected_at, b.accepts_new_devices, b.region, b.allocation_weight`;
}

/** SQL for the columns of {@link OneRow}. It does not select secrets. */
export function oneColumns(sql: Sql): Fragment {
  return sql`
    ${listedColumns(sql)}, b.ca_cert, b.client_cert, b.verify_certificate, b.password_sealed is not null as has_password,
    (b.client_key_sealed is not null or b.client_key is not null) as has_client_key`;
}

/**
 * SQL: the entity tag of the row of mqtt_broker_config, without quotes. Every change by an operator changes it, also that of a secret; a
 * connection test does not, nor a change to the same values.
 */
export function brokerTag(sql: Sql, row = sql`b`): Fragment {
  return sql`md5((to_jsonb(${row}) - '{updated_at,last_connected_at,default_until}'::text[])::text)`;
}

export type OneRow = { id: number; ca_cert: string | null; client_cert: string | null };

export function formatBroker<Row extends OneRow>(row: Row) {
  return {
    ...row,
    ca_cert_info: describeCertificates(row.ca_cert),
    client_cert_info: describeCertificates(row.client_cert),
  };
}
