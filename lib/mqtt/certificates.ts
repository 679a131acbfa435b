import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';

/** A certificate in a reply. */
export type CertificateInfo = { subject: string; issuer: string; expires_at: string };

/** An invalid PEM. The message continues the name of the field: `must be …`. */
export class PemError extends Error {}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * The certificates of a PEM file or bundle. Comments between them are ignored.
 * @throws PemError when it contains no certificate, an unreadable one, or another PEM block such as a private key
 */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0 || pem.replace(BLOCK, '').includes('-----')) {
    throw new PemError('must be one or more certificates in PEM and nothing else');
  }
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new PemError(`must be in PEM, but certificate number ${index + 1} cannot be read`);
    }
  });
}

/** @throws PemError that names the first expired certificate */
export function refuseExpired(certificates: X509Certificate[]): void {
  const expired = certificates.find(({ validToDate }) => validToDate.getTime() < Date.now());
  if (!expired) return;
  throw new PemError(
    `must not contain an expired certificate: ${nameOf(expired.subject)} expired on ${expired.validToDate.toISOString()}`,
  );
}

/** @throws PemError, without the text of OpenSSL, when it is not an unencrypted private key in PEM */
export function readPrivateKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new PemError('must be a private key in PEM, not encrypted');
  }
}

/** The certificates of a PEM for a reply. An unreadable PEM of a legacy row gives an empty array. */
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
