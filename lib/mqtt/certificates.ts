import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';

/** What a reply tells of a certificate. */
export type CertificateInfo = { subject: string; issuer: string; expires_at: string };

/** What is wrong with a PEM, for the field that holds it: `must be …`. */
export class PemError extends Error {}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * The certificates of a PEM file or bundle; comments between them are let through.
 * @throws PemError when it holds none, one that can't be read, or anything else in PEM such as a private key
 */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0 || pem.replace(BLOCK, '').includes('-----')) {
    throw new PemError('must be a certificate or a bundle of them in PEM, and nothing else');
  }
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new PemError(`must be in PEM, but its certificate number ${index + 1} cannot be read`);
    }
  });
}

/** @throws PemError naming the first certificate whose time is over */
export function refuseExpired(certificates: X509Certificate[]): void {
  const expired = certificates.find(({ validToDate }) => validToDate.getTime() < Date.now());
  if (!expired) return;
  throw new PemError(
    `must not hold an expired certificate: ${nameOf(expired.subject)} expired on ${expired.validToDate.toISOString()}`,
  );
}

/** @throws PemError when it isn't an unencrypted private key in PEM; OpenSSL's words are left out */
export function readPrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new PemError('must be a private key in PEM, not encrypted');
  }
}

/** Subject, issuer and expiry of each, for a reply; of a legacy row's PEM that can't be read, none. */
export function describeCertificates(pem: string | null): CertificateInfo[] | null {
  if (!pem) return null;
  try {
    return readCertificates(pem).map(({ subject, issuer, validToDate }) => ({
      subject: nameOf(subject),
      issuer: nameOf(issuer),
      expires_at: validToDate.toISOString(),
    }));
  } catch {
    return [];
  }
}

/** A distinguished name on one line: `C=DE, O=Example, CN=broker`. */
export function nameOf(distinguishedName: string | undefined): string {
  return (distinguishedName ?? '').split('\n').join(', ');
}
