import { seal, unseal } from '../crypto/seal.ts';
import { defaultBrokerInactive, invalidRequest, Problem } from '../errors.ts';
import { PemError, readCertificates, readPrivateKey, refuseExpired } from '../mqtt/certificates.ts';
import type { BrokerInput } from './input.ts';

const TABLE = 'mqtt_broker_config';

/** The columns of a stored broker that decide whether an input is valid. */
export type StoredBroker = {
  protocol: string;
  host: string;
  port: number;
  ca_cert: string | null;
  verify_certificate: boolean | null;
  username: string | null;
  password_sealed: string | null;
  client_cert: string | null;
  client_key: string | null;
  client_key_sealed: string | null;
  is_active: boolean | null;
};

/** A new broker before its input. */
export const NEW_BROKER: StoredBroker = {
  protocol: 'mqtt',
  host: '',
  port: 0,
  ca_cert: null,
  verify_certificate: true,
  username: null,
  password_sealed: null,
  client_cert: null,
  client_key: null,
  client_key_sealed: null,
  is_active: true,
};

/** Values by column name, for one row of mqtt_broker_config. */
export type Columns = Record<string, unknown>;

/**
 * The columns to write for an input: validated together with the stored columns, `use_tls` set from the protocol, secrets
 * sealed. Legacy columns of a stored broker are validated only when the input changes one of them.
 *
 * @param id of the row: sealed values are bound to it
 * @throws Problem `invalid-request` naming the field, `default-broker-inactive`, `sealing-not-configured`,
 *   `unsealing-failed`
 */
export function columnsOf(input: BrokerInput, id: number, stored: StoredBroker): Columns {
  const { password, client_key, use_tls, close_former, ...plain } = input;
  checkCertificate('ca_cert', input.ca_cert);
  checkCertificate('client_cert', input.client_cert);
  checkClientPair(input, id, stored);
  checkLogin(input, stored);
  checkPasswordReceiver(input, stored);
  checkDefault(input, stored);
  const columns: Columns = {
    ...plain,
    use_tls: tlsOf(input, stored),
    password_sealed: password && seal(password, { table: TABLE, id, column: 'password_sealed' }),
    client_key_sealed: client_key && seal(client_key, { table: TABLE, id, column: 'client_key_sealed' }),
    // A new secret, or null, also removes what the legacy service stored.
    password_hash: password === undefined ? undefined : null,
    client_key: client_key === undefined ? undefined : null,
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

/** The private key of a stored broker. The legacy service stored it as plain PEM. */
export function storedClientKey(
  { client_key_sealed, client_key }: Pick<StoredBroker, 'client_key' | 'client_key_sealed'>,
  id: number,
): string | undefined {
  if (client_key_sealed) return unseal(client_key_sealed, { table: TABLE, id, column: 'client_key_sealed' });
  return client_key ?? undefined;
}

/** @returns undefined when none is stored. The `password_hash` of the legacy service cannot be sent to a broker. */
export function storedPassword({ password_sealed }: StoredBroker, id: number): string | undefined {
  return password_sealed ? unseal(password_sealed, { table: TABLE, id, column: 'password_sealed' }) : undefined;
}

/** @returns undefined when the input does not change it */
function tlsOf({ protocol, use_tls }: BrokerInput, stored: StoredBroker): boolean | undefined {
  if (protocol === undefined && use_tls === undefined) return undefined;
  const current = protocol ?? stored.protocol;
  const overTls = current === 'mqtts' || current === 'wss';
  if (use_tls !== undefined && use_tls !== overTls) {
    const other = { mqtt: 'mqtts', mqtts: 'mqtt', ws: 'wss', wss: 'ws' }[current];
    throw invalid('use_tls', `must be ${overTls} with protocol ${current}; for ${use_tls} use ${other}`);
  }
  return overTls;
}

function checkCertificate(field: string, pem: string | null | undefined): void {
  if (pem) withField(field, () => refuseExpired(readCertificates(pem)));
}

/** The certificate and the private key must match, and neither may be missing. */
function checkClientPair({ client_cert, client_key }: BrokerInput, id: number, stored: StoredBroker): void {
  if (client_cert === undefined && client_key === undefined) return;
  const cert = client_cert === undefined ? stored.client_cert : client_cert;
  const key = client_key === undefined ? storedClientKey(stored, id) : client_key;
  if (!cert && !key) return;
  if (!key) throw invalid('client_key', 'must be set together with client_cert');
  if (!cert) throw invalid('client_cert', 'must be set together with client_key');
  const privateKey = withField('client_key', () => readPrivateKey(key));
  const [leaf] = withField('client_cert', () => readCertificates(cert));
  if (!leaf?.checkPrivateKey(privateKey)) throw invalid('client_key', 'must be the private key of client_cert');
}

/** MQTT 3.1.1 has no password without a user name. */
function checkLogin({ username, password }: BrokerInput, stored: StoredBroker): void {
  if (username === undefined && password === undefined) return;
  const hasUsername = username === undefined ? stored.username : username;
  const hasPassword = password === undefined ? stored.password_sealed : password;
  if (hasPassword && !hasUsername) throw invalid('username', 'must be set together with a password');
}

/** The connection test sends the stored password. Whoever changes its receiver must know it. */
function checkPasswordReceiver(input: BrokerInput, stored: StoredBroker): void {
  if (!stored.password_sealed || input.password !== undefined) return;
  const changed = (['protocol', 'host', 'port', 'ca_cert'] as const).filter(
    (field) => input[field] !== undefined && input[field] !== stored[field],
  );
  const stopsVerifying = input.verify_certificate === false && stored.verify_certificate !== false;
  const reason = stopsVerifying ? 'verify_certificate' : changed[0];
  if (reason) throw invalid('password', `must be sent again when ${reason} changes; null removes it`);
}

function checkDefault({ is_default, is_active }: BrokerInput, stored: StoredBroker): void {
  if (is_default && !(is_active ?? stored.is_active)) throw new Problem(defaultBrokerInactive);
}

function withField<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof PemError ? invalid(field, error.message) : error;
  }
}

function invalid(path: string, message: string): Problem {
  return new Problem(invalidRequest, `${path} ${message}`, { errors: [{ path, message }] });
}
