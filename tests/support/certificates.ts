import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

/** A certificate and its private key, in PEM. */
export type Pair = { cert: string; key: string };
export type Issue = {
  commonName: string;
  /** Host names and IP addresses (subjectAltName). */
  hosts?: string[];
  /** Validity in days from now; negative: already expired. */
  days?: number;
};
export type Authority = Pair & {
  issue(options: Issue): Promise<Pair>;
  /** An authority below this one. */
  issueAuthority(commonName: string): Promise<Authority>;
};

/** Creates a certificate authority for one test. */
export async function createAuthority(commonName: string): Promise<Authority> {
  const keys = await newKeys();
  return authorityOf(keys, await certificateOf(keys, { commonName, days: 3650, isAuthority: true }));
}

async function authorityOf(keys: webcrypto.CryptoKeyPair, certificate: x509.X509Certificate): Promise<Authority> {
  const issuer = { certificate, key: keys.privateKey };
  return {
    cert: certificate.toString('pem'),
    key: await pemOf(keys.privateKey),
    issue: async (options) => {
      const own = await newKeys();
      return {
        cert: (await certificateOf(own, options, issuer)).toString('pem'),
        key: await pemOf(own.privateKey),
      };
    },
    issueAuthority: async (commonName) => {
      const own = await newKeys();
      return authorityOf(own, await certificateOf(own, { commonName, isAuthority: true }, issuer));
    },
  };
}

/** @param issuer default: the certificate signs itself */
async function certificateOf(
  keys: webcrypto.CryptoKeyPair,
  { commonName, hosts = [], days = 30, isAuthority = false }: Issue & { isAuthority?: boolean },
  issuer?: { certificate: x509.X509Certificate; key: webcrypto.CryptoKey },
): Promise<x509.X509Certificate> {
  const names = hosts.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? ('ip' as const) : ('dns' as const), value }));
  const subject = `CN=${commonName}`;
  return x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer?.certificate.subject ?? subject,
    publicKey: keys.publicKey,
    signingKey: issuer?.key ?? keys.privateKey,
    ...validity(days),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(isAuthority, undefined, isAuthority),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      ...(isAuthority ? [await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)] : []),
      ...(issuer ? [await x509.AuthorityKeyIdentifierExtension.create(issuer.certificate.publicKey)] : []),
    ],
  });
}

function validity(days: number) {
  const end = Date.now() + days * DAY_MS;
  return { notBefore: new Date(Math.min(Date.now(), end) - DAY_MS), notAfter: new Date(end) };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}
