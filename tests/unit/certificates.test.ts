import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { CERTIFICATES_DIR, rdsRoots } from '../../tools/rds-certificates.ts';

const files = readdirSync(CERTIFICATES_DIR);
const read = (file: string) => readFileSync(`${CERTIFICATES_DIR}/${file}`, 'utf8');

it('every region’s roots are as they came', () => {
  const roots = rdsRoots();
  expect(Object.keys(roots).length).toBeGreaterThanOrEqual(27);
  for (const [region, pem] of Object.entries(roots)) expect(read(`${region}.pem`), region).toBe(pem);
});

it.each(files)('%s has RDS’ roots of that region and no other, each signed by itself, for years to come', (file) => {
  const roots = read(file).split(/(?<=-----END CERTIFICATE-----\n)/);
  expect(roots).toHaveLength(3);
  for (const pem of roots) {
    const root = new X509Certificate(pem);
    expect(root.subject).toMatch(new RegExp(`^CN=Amazon RDS ${file.replace('.pem', '')} Root CA `, 'm'));
    expect(root.ca).toBe(true);
    expect(root.verify(root.publicKey), 'signed by itself').toBe(true);
    expect(Date.parse(root.validTo)).toBeGreaterThan(Date.now() + 5 * 365 * 86_400_000);
  }
});
