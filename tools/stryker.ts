/**
 * Runs Stryker on files of `lib` and `functions`, with the tests that concern them: all tests take too long to repeat for
 * each mutant. Results are kept in .stryker/, so that the next run tries only what changed.
 *
 *     npm run mutate -- stryker lib/devices/register.ts lib/crypto …  [--ignoreStatic false] [--force]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from './user-error.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The tests of a folder or file. The longest path that fits decides. */
const TESTS: Record<string, string[]> = {
  lib: ['unit/deadline', 'unit/metrics', 'unit/problems', 'integration/devices', 'integration/fuzz'],
  'lib/bulk-assign': [
    ...['unit/bulk-assign-pace', 'integration/bulk-assign', 'integration/bulk-assign-jobs'],
    ...['integration/bulk-assign-worker', 'integration/bulk-assign-stuck', 'integration/bulk-assign-legacy'],
  ],
  'lib/bulk-assign/pace.ts': ['unit/bulk-assign-pace'],
  'lib/bulk-assign/row.ts': ['unit/bulk-assign-job'],
  'lib/bulk-assign/unknown-values.ts': ['unit/bulk-assign-job'],
  'lib/brokers': [
    ...['unit/broker-address', 'integration/brokers', 'integration/withdrawals'],
    ...['integration/brokers-document', 'integration/brokers-connection', 'integration/check-certificates'],
  ],
  'lib/brokers/columns.ts': ['unit/broker-columns'],
  'lib/crypto': ['unit/seal', 'unit/secrets', 'unit/hash-forms', 'integration/legacy-hashes'],
  'lib/database': [
    ...['unit/database-login', 'unit/database-retry', 'unit/database-token', 'unit/migrate-function'],
    ...['integration/leases', 'integration/statement-limits', 'integration/faults', 'integration/migrate-on-deploy'],
  ],
  'lib/database/login.ts': ['unit/database-login', 'unit/database-secrets'],
  'lib/database/token.ts': ['unit/database-token'],
  'lib/devices': [
    ...['unit/mqtt-acl', 'integration/devices', 'integration/register', 'integration/credentials'],
    ...['integration/refusals', 'integration/one-key', 'integration/resolution', 'integration/legacy-hashes'],
    ...['integration/search', 'integration/fleets', 'integration/reported'],
  ],
  'lib/devices/follows.ts': ['unit/device-follows'],
  'lib/devices/mqtt-reply.ts': ['unit/device-replies'],
  'lib/devices/row.ts': ['unit/device-replies', 'integration/devices'],
  'lib/events': ['integration/device-events', 'integration/purge-events', 'integration/faults'],
  'lib/fields.ts': ['unit/fields'],
  'lib/http': ['unit/body', 'unit/csv', 'unit/endpoint', 'unit/headers', 'unit/problems'],
  'lib/http/admin.ts': ['integration/secrets'],
  'lib/http/broker-auth.ts': ['integration/mqtt-auth'],
  'lib/http/custom-resource.ts': ['integration/migrate-on-deploy'],
  'lib/http/scheduled.ts': ['integration/bulk-assign-worker'],
  'lib/mqtt': ['unit/broker-address', 'unit/findings', 'unit/dial', 'integration/brokers-connection'],
  'lib/mqtt/address.ts': ['unit/broker-address'],
  'lib/mqtt/certificates.ts': ['unit/broker-certificates'],
  'lib/mqtt/connect.ts': ['unit/mqtt-connect'],
  'lib/mqtt/dial.ts': ['unit/dial', 'unit/dial-connections'],
  'lib/mqtt/findings.ts': ['unit/findings'],
  'lib/mqtt-auth': ['unit/mqtt-acl', 'integration/mqtt-auth'],
  'lib/mqtt-auth/acl.ts': ['unit/mqtt-acl'],
  'lib/provisioning-keys': [
    'unit/key-shape',
    ...['integration/provisioning-keys', 'integration/provisioning-key-pages', 'integration/change-keys'],
    'integration/one-key',
    ...['integration/legacy-comparisons', 'integration/legacy-hashes', 'integration/register'],
  ],
  'lib/resolution': ['unit/resolution', 'integration/resolution', 'integration/behind'],
  'lib/stats': ['integration/stats'],
  'lib/settings': ['integration/secrets'],
  'lib/settings/settings.ts': ['unit/settings', 'unit/seal', 'unit/endpoint', 'unit/database-token'],
  functions: ['unit/generated', 'unit/body', 'integration/devices', 'integration/brokers', 'integration/register'],
};

/** The test files of a source file, from the root. */
export function testsOf(source: string): string[] {
  const places = Object.keys(TESTS).filter((place) => source === place || source.startsWith(`${place}/`));
  const [longest] = places.sort((a, b) => b.length - a.length);
  if (!longest) throw new UserError(`${source} is neither in lib nor in functions`);
  return (TESTS[longest] as string[]).map((name) => `tests/${name}.test.ts`);
}

/** @returns the exit code: 0 unless Stryker could not run */
export function runStryker(args: string[]): number {
  const firstOption = args.findIndex((arg) => arg.startsWith('--'));
  const sources = firstOption === -1 ? args : args.slice(0, firstOption);
  if (sources.length === 0) throw new UserError('Usage: npm run mutate -- stryker FILE|FOLDER …');
  // Files with the same tests run together: the tests are tried without a mistake first, which takes as long as all mutants.
  const byTests = Map.groupBy(sources.flatMap(filesOf), (file) => testsOf(file).join(','));
  return Math.max(...[...byTests].map(([tests, files]) => stryker(files, tests, args.slice(sources.length))));
}

function filesOf(source: string): string[] {
  const place = path.join(ROOT, source);
  if (!existsSync(place)) throw new UserError(`${source} does not exist`);
  if (!statSync(place).isDirectory()) return [source];
  const names = readdirSync(place).filter((name) => name.endsWith('.ts'));
  return names.map((name) => path.join(source, name));
}

function stryker(files: string[], tests: string, options: string[]): number {
  const program = path.join(ROOT, 'node_modules/@stryker-mutator/core/bin/stryker.js');
  const state = path.join('.stryker', `${createHash('sha256').update(files.join()).digest('hex').slice(0, 12)}.json`);
  const args = ['run', '--mutate', files.join(','), '--testFiles', tests, '--incrementalFile', state, ...options];
  return spawnSync(process.execPath, [program, ...args], { cwd: ROOT, stdio: 'inherit' }).status ?? 1;
}
