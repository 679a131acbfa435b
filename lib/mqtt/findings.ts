import type { ConnectOutcome } from './connect.ts';
import type { DialError, TlsFacts } from './dial.ts';

/** Why a broker can't be reached: where it failed, a word to switch on, and what to do. */
export type Finding = { stage: 'dns' | 'tcp' | 'tls' | 'connack'; problem: string; advice: string };

type Words = [problem: string, advice: string];

const DNS: Record<string, Words> = {
  ENOTFOUND: [
    'name-not-found',
    'The host name does not resolve. Check its spelling, and that it is known to the resolver of the function’s network.',
  ],
  TIMED_OUT: ['dns-timeout', 'The resolver did not answer. Check the DNS of the function’s network.'],
  ADDRESS_NOT_ALLOWED: [
    'address-not-allowed',
    'The host resolves to a loopback, link-local, unspecified or multicast address, where no broker is looked for.',
  ],
};
const TCP: Record<string, Words> = {
  ECONNREFUSED: ['connection-refused', 'Nobody listens on this port. Check the port, and that the broker runs.'],
  TIMED_OUT: [
    'connect-timeout',
    'Nothing answers at this address and port. Check the port, security groups and firewalls, and the route from the function’s network.',
  ],
  EHOSTUNREACH: ['host-unreachable', 'There is no route to the host. Check the route from the function’s network.'],
  ENETUNREACH: [
    'host-unreachable',
    'There is no route to the host’s network. Check the route from the function’s network.',
  ],
};
const TLS: Record<string, Words> = {
  TIMED_OUT: [
    'tls-timeout',
    'The port took the connection and does not answer the TLS handshake. It may not speak TLS: then the protocol is mqtt or ws.',
  ],
  CLOSED: [
    'not-tls',
    'The server hung up during the TLS handshake. The port may not speak TLS: then the protocol is mqtt or ws.',
  ],
  ECONNRESET: [
    'not-tls',
    'The server hung up during the TLS handshake. The port may not speak TLS: then the protocol is mqtt or ws.',
  ],
  ERR_SSL_WRONG_VERSION_NUMBER: [
    'not-tls',
    'The port does not speak TLS: use another port, or the protocol mqtt or ws.',
  ],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: [
    'not-tls',
    'The port does not speak TLS: use another port, or the protocol mqtt or ws.',
  ],
  CERT_HAS_EXPIRED: ['certificate-expired', 'The server’s certificate, or one above it, has expired: renew it.'],
  CERT_NOT_YET_VALID: [
    'certificate-not-yet-valid',
    'The server’s certificate, or one above it, is not valid yet: check the clock of whoever issued it.',
  ],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    'host-name-mismatch',
    'The server’s certificate is for other names: use one of them as host, or give it a certificate with this host among its subjectAltNames.',
  ],
};
/** Return codes of a CONNACK of MQTT 3.1.1. */
const CONNACK: Record<number, Words> = {
  1: ['protocol-version', 'The broker does not accept MQTT 3.1.1.'],
  2: ['client-id-rejected', 'The broker does not accept the client id: allow those that begin with berth-test-.'],
  3: ['server-unavailable', 'The broker is there and turns clients away: see its log.'],
  4: ['wrong-credentials', 'The broker does not accept username and password: correct them with a PUT.'],
  5: [
    'not-authorised',
    'The broker does not let this client in: check its username, password and client certificate, and the broker’s access rules.',
  ],
};
const MEANINGS = [
  'accepted',
  'unacceptable protocol version',
  'identifier rejected',
  'server unavailable',
  'bad user name or password',
  'not authorised',
];

/** What is found without asking the broker. */
export const PASSWORD_UNKNOWN: Finding = {
  stage: 'connack',
  problem: 'password-unknown',
  advice:
    'Only a bcrypt hash of the password is stored, from the legacy service, and nobody can connect with that. Send the password once with a PUT.',
};

export function meaningOf(returnCode: number): string {
  return MEANINGS[returnCode] ?? `return code ${returnCode}`;
}

export function findingOfDial({ stage, code }: DialError): Finding {
  const words = { dns: DNS, tcp: TCP, tls: TLS }[stage][code];
  if (words) return finding(stage, words);
  if (stage === 'tls' && code.includes('ALERT')) return clientCertificateRefused(code);
  return finding(stage, [`${stage}-failed`, `It failed with ${code}.`]);
}

/** A certificate that isn't right for the host, or isn't trusted: by which chain. */
export function findingOfCertificate({ problem = '', chain }: TlsFacts, hasOwnCa: boolean): Finding {
  const words = TLS[problem];
  if (words) return finding('tls', words);
  const trusted = hasOwnCa ? 'the broker’s ca_cert' : 'the system’s CAs; the broker has no ca_cert';
  return finding('tls', [
    'certificate-untrusted',
    `The server’s certificate leads to no CA that is trusted (${problem}). Its chain is ${chain.join(' ← ')}; trusted are ${trusted}. Put the CA at the end of that chain into ca_cert.`,
  ]);
}

/** @returns undefined when the broker has accepted */
export function findingOfConnect(outcome: ConnectOutcome, isWebSocket: boolean): Finding | undefined {
  switch (outcome.kind) {
    case 'connack': {
      const { returnCode } = outcome;
      if (returnCode === 0) return undefined;
      return finding(
        'connack',
        CONNACK[returnCode] ?? ['refused', `The broker refused with return code ${returnCode}.`],
      );
    }
    case 'not-mqtt':
      return finding('connack', ['not-mqtt', isWebSocket ? notWebSocket(outcome.httpStatus) : NOT_MQTT]);
    case 'timeout':
      return finding('connack', ['connack-timeout', `The broker did not answer the CONNECT in time. ${NOT_MQTT}`]);
    case 'closed':
      return finding('connack', ['closed', `The server hung up without a CONNACK. ${NOT_MQTT}`]);
    case 'failed':
      // With TLS 1.3 a server judges the client's certificate only after the handshake.
      if (outcome.code.includes('ALERT')) return clientCertificateRefused(outcome.code);
      return finding('connack', ['closed', `The connection broke before a CONNACK (${outcome.code}). ${NOT_MQTT}`]);
  }
}

const NOT_MQTT = 'The port may speak something else: MQTT is usually on 1883, over TLS on 8883.';

function notWebSocket(httpStatus: number | undefined): string {
  const said = httpStatus ? `it answered with HTTP status ${httpStatus}` : 'it answered with something else';
  return `The server does not do MQTT over WebSocket at the path /: ${said}.`;
}

function clientCertificateRefused(code: string): Finding {
  return finding('tls', [
    'client-certificate-refused',
    `The server refused the handshake (${code}): it may want a client certificate, client_cert and client_key, signed by a CA of its own.`,
  ]);
}

function finding(stage: Finding['stage'], [problem, advice]: Words): Finding {
  return { stage, problem, advice };
}
