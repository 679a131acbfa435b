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
  ['an RDS instance', 'berth.abc123.eu-central-1.rds.amazonaws.com'],
  ['an Aurora cluster', 'berth.cluster-abc123.eu-central-1.rds.amazonaws.com'],
  ['an Aurora reader', 'berth.cluster-ro-abc123.eu-central-1.rds.amazonaws.com'],
])('%s: only the RDS root certificates of its region', (_, host) => {
  expect(at(host)).toEqual({ rejectUnauthorized: true, ca: roots });
});

it.each([
  ['RDS Proxy', 'berth.proxy-abc123.eu-central-1.rds.amazonaws.com'],
  ['an RDS Proxy endpoint', 'reader.endpoint.proxy-abc123.eu-central-1.rds.amazonaws.com'],
  ['another provider’s database', 'db.example.com'],
  ['a host name that contains an RDS name', 'x.eu-central-1.rds.amazonaws.com.example.com'],
  ['a private address', '10.0.0.7'],
])('%s: the system’s root certificates', (_, host) => {
  expect(at(host)).toEqual({ rejectUnauthorized: true });
});

it('DATABASE_CA takes precedence', () => {
  for (const host of ['berth.abc123.eu-central-1.rds.amazonaws.com', 'db.example.com']) {
    expect(at(host, { DATABASE_CA: 'PEM' })).toEqual({ rejectUnauthorized: true, ca: 'PEM' });
  }
});

it('an unknown region is an error that says what to set', () => {
  expect(() => at('berth.abc123.xx-north-1.rds.amazonaws.com')).toThrow('RDS in xx-north-1: set DATABASE_CA');
  expect(at('berth.abc123.xx-north-1.rds.amazonaws.com', { DATABASE_CA: 'PEM' })).toMatchObject({ ca: 'PEM' });
});
