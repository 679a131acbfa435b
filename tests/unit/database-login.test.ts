import { readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { databaseTls } from '../../lib/database/login.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';

const before = { ...process.env };
afterEach(() => {
  process.env = { ...before };
  reloadSettings();
});

const at = (host: string, env: Record<string, string> = {}) => {
  process.env = { ...before, ...env };
  reloadSettings();
  return databaseTls(`postgres://user:password@${host}:5432/berth`);
};
const roots = readFileSync(new URL('../../certificates/rds/eu-central-1.pem', import.meta.url), 'utf8');

it.each(['localhost', '127.0.0.1', '[::1]'])('%s: no TLS', (host) => {
  expect(at(host)).toBe(false);
});

it.each([
  ['an instance of RDS', 'berth.abc123.eu-central-1.rds.amazonaws.com'],
  ['a cluster of Aurora', 'berth.cluster-abc123.eu-central-1.rds.amazonaws.com'],
  ['a reader', 'berth.cluster-ro-abc123.eu-central-1.rds.amazonaws.com'],
])('%s: RDS’ roots of its region alone', (_, host) => {
  expect(at(host)).toEqual({ rejectUnauthorized: true, ca: roots });
});

it.each([
  ['RDS Proxy', 'berth.proxy-abc123.eu-central-1.rds.amazonaws.com'],
  ['an endpoint of RDS Proxy', 'reader.endpoint.proxy-abc123.eu-central-1.rds.amazonaws.com'],
  ['somebody else’s database', 'db.example.com'],
  ['one that would be taken for RDS', 'x.eu-central-1.rds.amazonaws.com.example.com'],
  ['a private address', '10.0.0.7'],
])('%s: the system’s roots', (_, host) => {
  expect(at(host)).toEqual({ rejectUnauthorized: true });
});

it('DATABASE_CA goes before all of them', () => {
  for (const host of ['berth.abc123.eu-central-1.rds.amazonaws.com', 'db.example.com']) {
    expect(at(host, { DATABASE_CA: 'PEM' })).toEqual({ rejectUnauthorized: true, ca: 'PEM' });
  }
});

it('a region whose roots are not shipped is an error that says what to do', () => {
  expect(() => at('berth.abc123.xx-north-1.rds.amazonaws.com')).toThrow('RDS in xx-north-1: set DATABASE_CA');
  expect(at('berth.abc123.xx-north-1.rds.amazonaws.com', { DATABASE_CA: 'PEM' })).toMatchObject({ ca: 'PEM' });
});
