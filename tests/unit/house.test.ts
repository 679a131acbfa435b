import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
const ENTITIES = ['brokers', 'provisioning-keys', 'devices', 'mqtt-auth', 'bulk-assign'];

function sources(dir: string): string[] {
  return readdirSync(path.join(ROOT, dir), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.join(dir, name));
}

/** The modules a file imports, relative ones as paths from the root. */
function importsOf(file: string): string[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const specifiers = [...text.matchAll(/(?:^|\n)(?:import|export)[^;]*?from '([^']+)'|import\('([^']+)'\)/g)];
  return specifiers
    .map(([, a, b]) => (a ?? b) as string)
    .map((name) => (name.startsWith('.') ? path.join(path.dirname(file), name) : name));
}

const lib = sources('lib');
const entityOf = (file: string) => ENTITIES.find((entity) => file.startsWith(`lib/${entity}/`));
const place = (file: string) => entityOf(file) ?? (file.startsWith('lib/http/') ? 'http' : 'root');

it.each(lib)('%s imports only where the arrows of the house lead', (file) => {
  for (const imported of importsOf(file)) {
    const from = place(file);
    if (imported === 'aws-lambda') expect(from, 'only lib/http knows Lambda').toBe('http');
    if (!imported.startsWith('lib/')) {
      expect(imported, 'lib imports nothing outside lib').not.toMatch(/^(functions|local|examples|bench|tests|docs)\//);
      continue;
    }
    const to = place(imported);
    if (from === 'root') expect(to, `${file} → ${imported}`).toBe('root');
    if (from === 'http') expect(to, 'lib/http knows no entity').toMatch(/^(http|root)$/);
    if (entityOf(file)) {
      expect(to, 'entities know no HTTP').not.toBe('http');
      if (entityOf(imported)) {
        expect(ENTITIES.indexOf(to), `${from} imports only leftward`).toBeLessThanOrEqual(ENTITIES.indexOf(from));
      }
    }
  }
});

it.each(sources('functions'))('%s imports only lib and zod', (file) => {
  for (const imported of importsOf(file)) expect(imported).toMatch(/^(lib\/|zod\/mini$)/);
});

it.each(sources('examples'))('%s speaks only HTTP and MQTT', (file) => {
  for (const imported of importsOf(file)) expect(imported).toMatch(/^(node:|mqtt$|examples\/)/);
});

it.each([
  ['postgres', 'lib/db.ts'],
  ['mqtt', 'lib/mqtt.ts'],
  ['@aws-lambda-powertools/logger', 'lib/log.ts'],
  ['@aws-lambda-powertools/metrics', 'lib/metrics.ts'],
  ['@aws-sdk/client-secrets-manager', 'lib/secret-store.ts'],
  ['node-pg-migrate', 'lib/migrate.ts'],
])('%s is imported by %s alone', (name, owner) => {
  for (const file of [...lib, ...sources('functions')]) {
    if (file !== owner) expect(importsOf(file), file).not.toContain(name);
  }
});

it('lib/errors.ts imports nothing', () => {
  expect(importsOf('lib/errors.ts')).toEqual([]);
});

it.each([...lib, ...sources('functions')])('%s keeps to the rules paid for', (file) => {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  // They hang or crash when a connection dies: porsager/postgres#1208.
  expect(text).not.toMatch(/\.(begin|reserve)\s*(<[^>]*>)?\(/);
  // The named import bundles all of zod, 443 KB.
  expect(text).not.toMatch(/import \{[^}]*\bz\b[^}]*\} from 'zod/);
  if (file !== 'lib/config.ts') expect(text, 'only lib/config.ts reads the environment').not.toContain('process.env');
});

it('files are kebab-case, without barrels or catch-alls', () => {
  for (const file of [...lib, ...sources('functions'), ...sources('local')]) {
    const name = path.basename(file);
    expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*\.ts$/);
    expect(name).not.toMatch(/^(index|utils?|helpers?|common|misc)\.ts$/);
  }
});
