import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CERTIFICATES_DIR, rdsRoots } from '../../tools/rds-certificates.ts';

const files = readdirSync(CERTIFICATES_DIR);
const read = (file: string) => readFileSync(`${CERTIFICATES_DIR}/${file}`, 'utf8');

it('the roots of every region equal those of the source package', () => {
  const roots = rdsRoots();
  expect(Object.keys(roots).length).toBeGreaterThanOrEqual(27);
  for (const [region, pem] of Object.entries(roots)) expect(read(`${region}.pem`), region).toBe(pem);
});

it.each(files)(
  '%s contains only the RDS roots of its region, each self-signed and valid for at least five years',
  (file) => {
    const roots = read(file).split(/(?<=-----END CERTIFICATE-----\n)/);
    expect(roots).toHaveLength(3);
    for (const pem of roots) {
      const root = new X509Certificate(pem);
      expect(root.subject).toMatch(new RegExp(`^CN=Amazon RDS ${file.replace('.pem', '')} Root CA `, 'm'));
      expect(root.ca).toBe(true);
      expect(root.verify(root.publicKey), 'self-signed').toBe(true);
      expect(Date.parse(root.validTo)).toBeGreaterThan(Date.now() + 5 * 365 * 86_400_000);
    }
  },
);
