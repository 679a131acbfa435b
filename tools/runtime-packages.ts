import { readFileSync } from 'node:fs';

const file = (name: string) => JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), 'utf8'));

export type LockedPackage = { name?: string; version?: string; license?: string; dev?: boolean; link?: boolean };
export type Lock = { packages: Record<string, LockedPackage> };

/** package.json and package-lock.json without development packages. */
export function runtimeManifest(): { manifest: object; lock: Lock } {
  const { devDependencies: _, allowScripts: __, scripts: ___, ...manifest } = file('package.json');
  return { manifest, lock: withoutDevelopment(file('package-lock.json')) };
}

/** The packages of a lock file that are needed at run time. The project itself has the key `''`. */
export function withoutDevelopment<L extends Lock>(lock: L): L {
  const packages = Object.entries(lock.packages)
    .filter(([, { dev }]) => !dev)
    .map(([place, one]) => [place, place === '' ? { ...one, devDependencies: undefined } : one]);
  return { ...lock, packages: Object.fromEntries(packages) };
}
