import { expect, it } from 'vitest';
import type { ConnectOutcome } from '../../lib/mqtt/connect.ts';
import { DialError, type TlsFacts } from '../../lib/mqtt/dial.ts';
import { findingOfCertificate, findingOfConnect, findingOfDial, meaningOf } from '../../lib/mqtt/findings.ts';

it.each([
  ['dns', 'ENOTFOUND', 'name-not-found'],
  ['dns', 'TIMED_OUT', 'dns-timeout'],
  ['dns', 'ADDRESS_NOT_ALLOWED', 'address-not-allowed'],
  ['dns', 'EAI_AGAIN', 'dns-failed'],
  ['tcp', 'ECONNREFUSED', 'connection-refused'],
  ['tcp', 'TIMED_OUT', 'connect-timeout'],
  ['tcp', 'EHOSTUNREACH', 'host-unreachable'],
  ['tcp', 'ENETUNREACH', 'host-unreachable'],
  ['tcp', 'ERR_SSL_TLSV1_ALERT', 'tcp-failed'],
  ['tls', 'TIMED_OUT', 'tls-timeout'],
  ['tls', 'CLOSED', 'not-tls'],
  ['tls', 'ECONNRESET', 'not-tls'],
  ['tls', 'ERR_SSL_WRONG_VERSION_NUMBER', 'not-tls'],
  ['tls', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'not-tls'],
  ['tls', 'CERT_HAS_EXPIRED', 'certificate-expired'],
  ['tls', 'CERT_NOT_YET_VALID', 'certificate-not-yet-valid'],
  ['tls', 'ERR_TLS_CERT_ALTNAME_INVALID', 'host-name-mismatch'],
  ['tls', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'client-certificate-refused'],
  ['tls', 'EPROTO', 'tls-failed'],
] as const)('%s %s: %s', (stage, code, problem) => {
  const finding = findingOfDial(new DialError(stage, code));
  expect(finding).toEqual({ stage, problem, advice: expect.stringMatching(/.{20}/) });
});

const facts = (problem: string | undefined) => ({ problem, chain: ['CN=leaf', 'CN=root'] }) as TlsFacts;

it('a certificate that is not trusted: its chain, and whose CAs are trusted', () => {
  const { stage, problem, advice } = findingOfCertificate(facts('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), true);
  expect([stage, problem]).toEqual(['tls', 'certificate-untrusted']);
  expect(advice).toContain('CN=leaf ← CN=root');
  expect(advice).toContain('the broker’s ca_cert');
  expect(findingOfCertificate(facts(undefined), false).advice).toContain('the system’s CAs');
});

it('a certificate of another host is named as such', () => {
  expect(findingOfCertificate(facts('ERR_TLS_CERT_ALTNAME_INVALID'), true)).toMatchObject({
    stage: 'tls',
    problem: 'host-name-mismatch',
  });
});

const sent = { isWebSocket: false, hasCredentials: true };
const outcomes: [ConnectOutcome, string | undefined][] = [
  [{ kind: 'connack', returnCode: 0 }, undefined],
  [{ kind: 'connack', returnCode: 1 }, 'protocol-version'],
  [{ kind: 'connack', returnCode: 2 }, 'client-id-rejected'],
  [{ kind: 'connack', returnCode: 3 }, 'server-unavailable'],
  [{ kind: 'connack', returnCode: 4 }, 'wrong-credentials'],
  [{ kind: 'connack', returnCode: 5 }, 'not-authorised'],
  [{ kind: 'connack', returnCode: 99 }, 'refused'],
  [{ kind: 'not-mqtt' }, 'not-mqtt'],
  [{ kind: 'timeout' }, 'connack-timeout'],
  [{ kind: 'closed' }, 'closed'],
  [{ kind: 'failed', code: 'ECONNRESET' }, 'closed'],
];
it.each(outcomes)('CONNECT ends with %o: %s', (outcome, problem) => {
  const finding = findingOfConnect(outcome, sent);
  if (problem === undefined) expect(finding).toBeUndefined();
  else expect(finding).toEqual({ stage: 'connack', problem, advice: expect.stringMatching(/.{20}/) });
});

it('an alert after the handshake is about the client certificate', () => {
  expect(findingOfConnect({ kind: 'failed', code: 'ERR_SSL_ALERT' }, sent)).toMatchObject({
    stage: 'tls',
    problem: 'client-certificate-refused',
  });
});

it.each([4, 5])('return code %i without credentials: they are missing', (returnCode) => {
  const without = { ...sent, hasCredentials: false };
  expect(findingOfConnect({ kind: 'connack', returnCode }, without)?.problem).toBe('no-credentials');
});

it('return code 3 without credentials is not about credentials', () => {
  const without = { ...sent, hasCredentials: false };
  expect(findingOfConnect({ kind: 'connack', returnCode: 3 }, without)?.problem).toBe('server-unavailable');
});

it('over WebSocket, the advice says what the server answered', () => {
  const webSocket = { ...sent, isWebSocket: true };
  const advice = (outcome: ConnectOutcome) => findingOfConnect(outcome, webSocket)?.advice;
  expect(advice({ kind: 'not-mqtt', httpStatus: 404 })).toContain('HTTP status 404');
  expect(advice({ kind: 'not-mqtt' })).toContain('not a WebSocket');
  expect(findingOfConnect({ kind: 'not-mqtt' }, sent)?.advice).toContain('1883');
});

it.each([
  [0, 'accepted'],
  [4, 'bad user name or password'],
  [77, 'return code 77'],
])('return code %i means: %s', (code, meaning) => {
  expect(meaningOf(code)).toBe(meaning);
});
