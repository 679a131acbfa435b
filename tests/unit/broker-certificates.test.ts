import { createPrivateKey } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  describeCertificates,
  nameOf,
  PemError,
  readCertificates,
  readPrivateKey,
  refuseExpired,
} from '../../lib/mqtt/certificates.ts';
import { type Authority, createAuthority, type Pair } from '../support/certificates.ts';

let authority: Authority;
let server: Pair;
let expired: Pair;
beforeAll(async () => {
  authority = await createAuthority('Example CA');
  server = await authority.issue({ commonName: 'broker' });
  expired = await authority.issue({ commonName: 'old broker', days: -1 });
});

const UNREADABLE = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

describe('the certificates of a PEM', () => {
  it('are all of them, in their order, whatever is written between them', () => {
    const pem = `# the broker\n${server.cert}\n# its CA\n${authority.cert}`;
    expect(readCertificates(pem).map(({ subject }) => subject)).toEqual(['CN=broker', 'CN=Example CA']);
  });

  it.each([
    ['no certificate', () => ''],
    ['only text', () => 'no certificate'],
    ['only a private key', () => server.key],
    ['a private key beside the certificate', () => server.cert + server.key],
    ['the rest of another block', () => `${server.cert}-----END CERTIFICATE-----\n`],
  ])('%s is refused', (_, pem) => {
    expect(() => readCertificates(pem())).toThrow(
      new PemError('must be one or more certificates in PEM and nothing else'),
    );
  });

  it('one that cannot be read is refused by its number', () => {
    expect(() => readCertificates(server.cert + UNREADABLE)).toThrow(
      new PemError('must be in PEM, but certificate number 2 cannot be read'),
    );
  });

  it('the first expired one is refused, with its name and its end', () => {
    const [old] = readCertificates(expired.cert);
    const end = old?.validToDate.toISOString();
    expect(() => refuseExpired(readCertificates(server.cert + expired.cert))).toThrow(
      new PemError(`must not contain an expired certificate: CN=old broker expired on ${end}`),
    );
    expect(() => refuseExpired(readCertificates(server.cert + authority.cert))).not.toThrow();
  });
});

describe('the certificates of a stored PEM, for a reply', () => {
  it('have their names and their end', () => {
    expect(describeCertificates(server.cert)).toEqual([
      { subject: 'CN=broker', issuer: 'CN=Example CA', expires_at: expect.stringMatching(/^\d{4}-.*Z$/) },
    ]);
  });

  it('are null without a PEM, and none when the legacy service has stored something else', () => {
    expect([null, ''].map(describeCertificates)).toEqual([null, null]);
    expect(['x', UNREADABLE].map(describeCertificates)).toEqual([[], []]);
  });
});

it('a private key is read, an encrypted one is refused', () => {
  expect(readPrivateKey(server.key).type).toBe('private');
  const encrypted = createPrivateKey(server.key).export({
    ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
  } as never);
  for (const pem of ['x', String(encrypted)]) {
    expect(() => readPrivateKey(pem)).toThrow(new PemError('must be a private key in PEM, not encrypted'));
  }
});

it('a distinguished name is one line', () => {
  expect(nameOf('C=DE\nO=Example\nCN=broker')).toBe('C=DE, O=Example, CN=broker');
  expect(nameOf(undefined)).toBe('');
});
