/**
 * Runs Stryker on files of `lib` and `functions`, with the tests that concern them: all tests would take an hour for each
 * file. Results are kept in .stryker/, so that the next run tries only what changed.
 *
 *     npm run mutate -- stryker lib/devices/register.ts lib/crypto …  [--ignoreStatic false] [--force]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from './user-error.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The tests of a folder or file. The longest path that fits decides. */
const TESTS: Record<string, string[]> = {
  lib: ['unit/deadline', 'unit/metrics', 'unit/problems', 'integration/devices', 'integration/fuzz'],
  'lib/bulk-assign': [
    ...['unit/bulk-assign-pace', 'integration/bulk-assign', 'integration/bulk-assign-worker'],
    ...['integration/bulk-assign-stuck', 'integration/bulk-assign-legacy'],
  ],
  'lib/brokers': [
    ...['unit/broker-address', 'integration/brokers', 'integration/brokers-document'],
    ...['integration/brokers-connection', 'integration/check-certificates'],
  ],
  'lib/crypto': ['unit/seal', 'unit/secrets', 'integration/legacy-hashes'],
  'lib/database': [
    ...['unit/database-login', 'unit/database-retry', 'unit/database-token', 'unit/migrate-function'],
    ...['integration/leases', 'integration/statement-limits', 'integration/faults', 'integration/migrate-on-deploy'],
  ],
  'lib/devices': [
    ...['unit/mqtt-acl', 'integration/devices', 'integration/register', 'integration/credentials'],
    ...['integration/refusals', 'integration/one-key', 'integration/resolution', 'integration/legacy-hashes'],
  ],
  'lib/events': ['integration/devices', 'integration/purge-events', 'integration/bulk-assign-worker'],
  'lib/http': [
    ...['unit/body', 'unit/csv', 'unit/deadline', 'unit/problems', 'integration/devices'],
    ...['integration/secrets', 'integration/provisioning-keys', 'integration/mqtt-auth', 'integration/bulk-assign'],
  ],
  'lib/mqtt': ['unit/broker-address', 'unit/certificates', 'unit/dial', 'integration/brokers-connection'],
  'lib/mqtt-auth': ['unit/mqtt-acl', 'integration/mqtt-auth'],
  'lib/provisioning-keys': [
    ...['integration/provisioning-keys', 'integration/one-key', 'integration/legacy-comparisons'],
    ...['integration/legacy-hashes', 'integration/register'],
  ],
  'lib/resolution': ['integration/resolution', 'integration/mqtt-auth', 'integration/devices'],
  'lib/settings': ['unit/settings', 'unit/secrets', 'unit/database-token', 'integration/secrets'],
  functions: ['unit/generated', 'unit/body', 'integration/devices', 'integration/brokers', 'integration/register'],
};

/** Test files that exist, from the root. */
export function testsOf(source: string): string[] {
  const places = Object.keys(TESTS).filter((place) => source === place || source.startsWith(`${place}/`));
  const [longest] = places.sort((a, b) => b.length - a.length);
  if (!longest) throw new UserError(`${source} is neither in lib nor in functions`);
  return (TESTS[longest] as string[]).map((name) => `tests/${name}.test.ts`);
}

/** @returns the exit code: 0 unless Stryker could not run */
export function runStryker(args: string[]): number {
  const options = args.findIndex((arg) => arg.startsWith('--'));
  const sources = options === -1 ? args : args.slice(0, options);
  if (sources.length === 0) throw new UserError('Usage: npm run mutate -- stryker FILE|FOLDER …');
  return Math.max(...sources.map((source) => strykerOn(source, args.slice(sources.length))));
}

function strykerOn(source: string, options: string[]): number {
  const file = path.join(ROOT, source);
  if (!existsSync(file)) throw new UserError(`${source} does not exist`);
  const mutate = statSync(file).isDirectory() ? `${source}/*.ts` : source;
  const state = `.stryker/${source.replaceAll('/', '-')}.json`;
  const stryker = path.join(ROOT, 'node_modules/@stryker-mutator/core/bin/stryker.js');
  const all = ['run', '--mutate', mutate, '--testFiles', testsOf(source).join(','), '--incrementalFile', state];
  const { status } = spawnSync(process.execPath, [stryker, ...all, ...options], { cwd: ROOT, stdio: 'inherit' });
  return status ?? 1;
}
