import { seal, unseal } from '../crypto/seal.ts';
import { defaultBrokerInactive, invalidRequest, Problem } from '../errors.ts';
import { PemError, readCertificates, readPrivateKey, refuseExpired } from '../mqtt/certificates.ts';
import type { BrokerInput } from './input.ts';

export const BROKER_TABLE = 'mqtt_broker_config';

/** What of a stored broker decides whether a change of it is right. */
export type StoredBroker = {
  protocol: string;
  username: string | null;
  password_sealed: string | null;
  client_cert: string | null;
  client_key: string | null;
  client_key_sealed: string | null;
  is_active: boolean | null;
};

/** Values by column name, for one row of mqtt_broker_config. */
export type Columns = Record<string, unknown>;

/**
 * What an input comes to in columns: fields checked against each other and against what is stored,
 * `use_tls` from the protocol, secrets sealed.
 *
 * @param id the row's, which sealed values are bound to
 * @param stored undefined: the broker is new
 * @returns the columns to write; none when the input has no field
 * @throws Problem `invalid-request` naming the field, `default-broker-inactive`, `sealing-not-configured`,
 *   `unsealing-failed`
 */
export function columnsOf(input: BrokerInput, id: number, stored?: StoredBroker): Columns {
  const { password, client_key, ...plain } = input;
  checkCertificate(input.ca_cert, 'ca_cert');
  checkCertificate(input.client_cert, 'client_cert');
  checkClientPair(input, id, stored);
  checkLogin(input, stored);
  checkDefault(input, stored);
  return {
    ...withoutUndefined(plain),
    ...tlsColumns(input, stored),
    ...sealedColumn(id, 'password_sealed', password, 'password_hash'),
    ...sealedColumn(id, 'client_key_sealed', client_key, 'client_key'),
  };
}

/** The private key of a stored broker, opened; the legacy service left it as plain PEM. */
export function clientKeyOf(
  stored: Pick<StoredBroker, 'client_key' | 'client_key_sealed'>,
  id: number,
): string | undefined {
  const { client_key_sealed, client_key } = stored;
  if (client_key_sealed) return unseal(client_key_sealed, { table: BROKER_TABLE, id, column: 'client_key_sealed' });
  return client_key ?? undefined;
}

/** @returns undefined when none is stored that could be sent: a legacy `password_hash` can't */
export function passwordOf({ password_sealed }: Pick<StoredBroker, 'password_sealed'>, id: number): string | undefined {
  return password_sealed ? unseal(password_sealed, { table: BROKER_TABLE, id, column: 'password_sealed' }) : undefined;
}

function tlsColumns({ protocol, use_tls }: BrokerInput, stored: StoredBroker | undefined): Columns {
  if (stored && protocol === undefined && use_tls === undefined) return {};
  const spoken = protocol ?? stored?.protocol ?? 'mqtt';
  const overTls = spoken === 'mqtts' || spoken === 'wss';
  if (use_tls !== undefined && use_tls !== overTls) {
    const other = { mqtt: 'mqtts', mqtts: 'mqtt', ws: 'wss', wss: 'ws' }[spoken];
    throw wrong('use_tls', `must be ${overTls} with protocol ${spoken}; for ${use_tls} use ${other}`);
  }
  return { use_tls: overTls };
}

function checkCertificate(pem: string | null | undefined, field: string): void {
  if (pem) withField(field, () => refuseExpired(readCertificates(pem)));
}

/** Never half of a pair, and the halves must belong together. A legacy half that isn't touched is left alone. */
function checkClientPair({ client_cert, client_key }: BrokerInput, id: number, stored: StoredBroker | undefined): void {
  if (client_cert === undefined && client_key === undefined) return;
  const cert = client_cert === undefined ? stored?.client_cert : client_cert;
  const key = client_key === undefined ? stored && clientKeyOf(stored, id) : client_key;
  if (!cert && !key) return;
  if (!key) throw wrong('client_key', 'must come with client_cert: one without the other connects nobody');
  if (!cert) throw wrong('client_cert', 'must come with client_key: one without the other connects nobody');
  const privateKey = withField('client_key', () => readPrivateKey(key));
  const [leaf] = withField('client_cert', () => readCertificates(cert));
  if (!leaf?.checkPrivateKey(privateKey)) {
    throw wrong('client_key', 'must be the private key of client_cert, and is another’s');
  }
}

/** MQTT 3.1.1 has no password without a user name. */
function checkLogin({ username, password }: BrokerInput, stored: StoredBroker | undefined): void {
  if (username === undefined && password === undefined) return;
  const user = username === undefined ? stored?.username : username;
  const secret = password === undefined ? stored?.password_sealed : password;
  if (secret && !user) throw wrong('username', 'must come with a password');
}

function checkDefault({ is_default, is_active }: BrokerInput, stored: StoredBroker | undefined): void {
  const active = is_active ?? (stored ? stored.is_active : true);
  if (is_default && !active) throw new Problem(defaultBrokerInactive);
}

/** The sealed secret, or its removal; what the legacy service kept of it goes either way. */
function sealedColumn(id: number, column: string, secret: string | null | undefined, legacyColumn: string): Columns {
  if (secret === undefined) return {};
  return { [column]: secret && seal(secret, { table: BROKER_TABLE, id, column }), [legacyColumn]: null };
}

function withoutUndefined(input: object): Columns {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
}

function withField<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof PemError ? wrong(field, error.message) : error;
  }
}

function wrong(path: string, message: string): Problem {
  return new Problem(invalidRequest, `${path} ${message}`, { errors: [{ path, message }] });
}
