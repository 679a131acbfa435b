import { type Lock, runtimeManifest } from './runtime-packages.ts';

/** SPDX identifiers of licences that only require passing on their text. Adding one is a decision. */
const ALLOWED = new Set([
  'MIT',
  'MIT-0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'Unlicense',
]);

export type Licensed = { name: string; version: string; licence: string; isAllowed: boolean };

/** The packages of a lock file with their licences, by name. Copies of the same version count once. */
export function licencesOf(lock: Lock): Licensed[] {
  const found = new Map<string, Licensed>();
  for (const [place, { name, version = '', license: licence = 'none named' }] of Object.entries(lock.packages)) {
    if (place === '') continue;
    const known = name ?? place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
    found.set(`${known} ${version}`, { name: known, version, licence, isAllowed: isAllowed(licence) });
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name) || a.version.localeCompare(b.version));
}

/** Checks an SPDX expression with OR or AND. A person must read an expression that mixes them. */
export function isAllowed(expression: string): boolean {
  const flat = expression.replace(/^\((.*)\)$/, '$1');
  const [any, all] = [flat.split(' OR '), flat.split(' AND ')];
  if (/[()]/.test(flat) || (any.length > 1 && all.length > 1)) return false;
  return all.length > 1 ? all.every((one) => ALLOWED.has(one)) : any.some((one) => ALLOWED.has(one));
}

if (import.meta.main) {
  const licences = licencesOf(runtimeManifest().lock);
  for (const { name, version, licence, isAllowed } of licences) {
    console.log(`${isAllowed ? ' ' : '!'} ${licence.padEnd(14)} ${name} ${version}`);
  }
  const refused = licences.filter(({ isAllowed }) => !isAllowed);
  console.log(`${licences.length} packages at run time, ${refused.length} with a licence that is not on the list.`);
  process.exitCode = refused.length === 0 ? 0 : 1;
}
