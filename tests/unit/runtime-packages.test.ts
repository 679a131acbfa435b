import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import pkg from '../../package.json' with { type: 'json' };
import { isAllowed, licencesOf } from '../../tools/licences.ts';
import { runtimeManifest, withoutDevelopment } from '../../tools/runtime-packages.ts';
import { sbom } from '../../tools/sbom.ts';

const { lock } = runtimeManifest();
const names = licencesOf(lock).map(({ name }) => name);

it('every runtime package has an allowed licence', () => {
  expect(licencesOf(lock).filter(({ isAllowed }) => !isAllowed)).toEqual([]);
});

it('runtime packages are the dependencies with their transitive ones, without development dependencies', () => {
  expect(names).toEqual(expect.arrayContaining(Object.keys(pkg.dependencies)));
  expect(names).toEqual(expect.arrayContaining(['pg-protocol', 'mqtt-packet', 'debug']));
  for (const name of Object.keys(pkg.devDependencies).filter((one) => !one.startsWith('@types/') && one !== 'ws')) {
    expect(names).not.toContain(name);
  }
});

it('development packages are removed; a package without a licence is reported', () => {
  const packages = {
    '': {},
    'node_modules/a': { version: '1.0.0', license: 'MIT' },
    'node_modules/b': { version: '1.0.0', license: 'GPL-3.0', dev: true },
    'node_modules/a/node_modules/@c/d': { version: '2.0.0' },
  };
  expect(licencesOf(withoutDevelopment({ packages }))).toEqual([
    { name: '@c/d', version: '2.0.0', licence: 'none named', isAllowed: false },
    { name: 'a', version: '1.0.0', licence: 'MIT', isAllowed: true },
  ]);
});

describe('licence expressions', () => {
  it.each(['MIT', '(MIT OR GPL-3.0-only)', 'MIT AND ISC', '(MIT OR Apache-2.0)'])('%s is allowed', (licence) => {
    expect(isAllowed(licence)).toBe(true);
  });
  it.each(['GPL-3.0-only', 'MIT AND GPL-3.0-only', '(MIT OR ISC) AND GPL-3.0-only', 'UNLICENSED', ''])(
    '%j is not allowed',
    (licence) => {
      expect(isAllowed(licence)).toBe(false);
    },
  );
});

it('the SBOM lists every runtime package, and this project with its version', () => {
  const { metadata, components } = JSON.parse(sbom());
  expect(metadata.component).toMatchObject({ name: 'berth', version: pkg.version, type: 'application' });
  const listed = components.map(({ group, name }: { group?: string; name: string }) =>
    group ? `${group}/${name}` : name,
  );
  expect([...new Set(listed)].sort()).toEqual([...new Set(names)].sort());
  // npm makes the list, which takes seconds on a busy machine.
}, 30_000);

it('package-lock.json and docs/openapi.json have the version of package.json', () => {
  const [lockFile, openapi] = ['package-lock.json', 'docs/openapi.json'].map((file) =>
    JSON.parse(readFileSync(file, 'utf8')),
  );
  expect(lockFile).toMatchObject({ version: pkg.version, packages: { '': { version: pkg.version } } });
  expect(openapi).toMatchObject({ info: { version: pkg.version } });
});
