import type { ConnectOutcome } from './connect.ts';
import type { DialError, TlsFacts } from './dial.ts';

/** Why a broker cannot be reached: the stage that failed, a word to switch on, and what to do. */
export type Finding = { stage: 'dns' | 'tcp' | 'tls' | 'connack'; problem: string; advice: string };

type Words = [problem: string, advice: string];

const NO_ROUTE: Words = [
  'host-unreachable',
  'There is no route to the host. Check the routes of the function’s network.',
];
const NOT_TLS: Words = [
  'not-tls',
  'The server did not complete a TLS handshake. If the port has no TLS, use protocol mqtt or ws.',
];

/** By stage and error code. */
const DIAL: Record<DialError['stage'], Record<string, Words>> = {
  dns: {
    ENOTFOUND: ['name-not-found', 'The host name does not resolve. Check it, and the DNS of the function’s network.'],
    TIMED_OUT: ['dns-timeout', 'The DNS lookup timed out. Check the DNS of the function’s network.'],
    ADDRESS_NOT_ALLOWED: [
      'address-not-allowed',
      'The host resolves to a loopback, link-local, unspecified or multicast address. A broker cannot have such an address.',
    ],
  },
  tcp: {
    ECONNREFUSED: ['connection-refused', 'The port is closed. Check the port, and whether the broker runs.'],
    TIMED_OUT: ['connect-timeout', 'Nothing answers. Check host, port, security groups, firewalls and routes.'],
    EHOSTUNREACH: NO_ROUTE,
    ENETUNREACH: NO_ROUTE,
  },
  tls: {
    TIMED_OUT: ['tls-timeout', 'The TLS handshake timed out. If the port has no TLS, use protocol mqtt or ws.'],
    CLOSED: NOT_TLS,
    ECONNRESET: NOT_TLS,
    ERR_SSL_WRONG_VERSION_NUMBER: NOT_TLS,
    ERR_SSL_PACKET_LENGTH_TOO_LONG: NOT_TLS,
    CERT_HAS_EXPIRED: ['certificate-expired', 'A certificate of the server’s chain has expired. Renew it.'],
    CERT_NOT_YET_VALID: ['certificate-not-yet-valid', 'A certificate of the server’s chain is not valid yet.'],
    ERR_TLS_CERT_ALTNAME_INVALID: [
      'host-name-mismatch',
      'The certificate lacks this host. Reissue it, or use one of its names.',
    ],
  },
};

/** By return code of an MQTT 3.1.1 CONNACK. */
const CONNACK: Record<number, [meaning: string, ...Words]> = {
  1: ['unacceptable protocol version', 'protocol-version', 'The broker does not accept MQTT 3.1.1.'],
  2: ['identifier rejected', 'client-id-rejected', 'The broker rejects the client id. Allow the prefix berth-test-.'],
  3: ['server unavailable', 'server-unavailable', 'The broker is unavailable. See the log of the broker.'],
  4: [
    'bad user name or password',
    'wrong-credentials',
    'The broker rejects username and password. Correct them with PUT.',
  ],
  5: [
    'not authorised',
    'not-authorised',
    'The broker denies access. Check username, password, client_cert and its ACLs.',
  ],
};

const NO_CREDENTIALS: Words = [
  'no-credentials',
  'The broker requires a username, and none is stored. Create a user for this test (docs/brokers.md: The probe user), and send its username and password with PUT.',
];

/** The test ends before the CONNECT. */
export const PASSWORD_UNKNOWN: Finding = {
  stage: 'connack',
  problem: 'password-unknown',
  advice: 'Only a bcrypt hash of the password is stored, which cannot be used to connect. Send the password with PUT.',
};

export function meaningOf(returnCode: number): string {
  return returnCode === 0 ? 'accepted' : (CONNACK[returnCode]?.[0] ?? `return code ${returnCode}`);
}

export function findingOfDial({ stage, code }: DialError): Finding {
  const words = DIAL[stage][code];
  if (words) return finding(stage, words);
  if (stage === 'tls' && code.includes('ALERT')) return clientCertificateRefused(code);
  return finding(stage, [`${stage}-failed`, `The connection failed with ${code}.`]);
}

/** For a certificate that does not match the host or is not trusted. */
export function findingOfCertificate({ problem = '', chain }: TlsFacts, hasOwnCa: boolean): Finding {
  const words = DIAL.tls[problem];
  if (words) return finding('tls', words);
  const trusted = hasOwnCa ? 'the broker’s ca_cert' : 'the system’s CAs, because the broker has no ca_cert';
  return finding('tls', [
    'certificate-untrusted',
    `No trusted CA signed the server’s certificate (${problem}). Its chain is ${chain.join(' ← ')}; trusted are ${trusted}. Set ca_cert to the last CA of the chain.`,
  ]);
}

/**
 * @param sent `hasCredentials`: a username or a client certificate
 * @returns undefined when the broker accepted the client
 */
export function findingOfConnect(
  outcome: ConnectOutcome,
  sent: { isWebSocket: boolean; hasCredentials: boolean },
): Finding | undefined {
  const { isWebSocket, hasCredentials } = sent;
  switch (outcome.kind) {
    case 'connack': {
      const { returnCode } = outcome;
      if (returnCode === 0) return undefined;
      if ((returnCode === 4 || returnCode === 5) && !hasCredentials) return finding('connack', NO_CREDENTIALS);
      const [, ...words] = CONNACK[returnCode] ?? ['', 'refused', `The broker refused with return code ${returnCode}.`];
      return finding('connack', words);
    }
    case 'not-mqtt':
      return finding('connack', ['not-mqtt', isWebSocket ? notWebSocket(outcome.httpStatus) : NOT_MQTT]);
    case 'timeout':
      return finding('connack', ['connack-timeout', `The broker sent no CONNACK in time. ${NOT_MQTT}`]);
    case 'closed':
      return finding('connack', ['closed', `The server closed the connection without a CONNACK. ${NOT_MQTT}`]);
    case 'failed':
      // With TLS 1.3 a server verifies the client certificate after the handshake.
      if (outcome.code.includes('ALERT')) return clientCertificateRefused(outcome.code);
      return finding('connack', ['closed', `The connection failed before the CONNACK (${outcome.code}). ${NOT_MQTT}`]);
  }
}

const NOT_MQTT = 'Check that the port speaks MQTT: usually 1883, or 8883 over TLS.';

function notWebSocket(httpStatus: number | undefined): string {
  const reply = httpStatus ? `HTTP status ${httpStatus}` : 'something that is not a WebSocket';
  return `The server does not speak MQTT over WebSocket at the path /. It answered with ${reply}.`;
}

function clientCertificateRefused(code: string): Finding {
  return finding('tls', [
    'client-certificate-refused',
    `The server refused the handshake (${code}). It may require a client_cert and client_key that its CA signed.`,
  ]);
}

function finding(stage: Finding['stage'], [problem, advice]: Words): Finding {
  return { stage, problem, advice };
}
