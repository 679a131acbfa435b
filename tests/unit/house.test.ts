import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;

/**
 * Which folder may import which: a folder imports itself, `lib` (its loose files: errors, log, metrics …) and the folders
 * named here, nothing else of the project.
 */
const MAY_IMPORT: Record<string, string[]> = {
  lib: [],
  'lib/settings': [],
  'lib/crypto': ['lib/settings'],
  'lib/database': ['lib/settings', 'lib/crypto'],
  'lib/http': ['lib/settings', 'lib/crypto'],
  'lib/mqtt': [],
  'lib/events': ['lib/settings', 'lib/database'],
  'lib/resolution': ['lib/settings', 'lib/database'],
  'lib/brokers': ['lib/settings', 'lib/crypto', 'lib/database', 'lib/mqtt', 'lib/events', 'lib/resolution'],
  'lib/provisioning-keys': ['lib/settings', 'lib/crypto', 'lib/database', 'lib/events', 'lib/resolution'],
  'lib/devices': [
    ...['lib/settings', 'lib/crypto', 'lib/database', 'lib/events', 'lib/resolution', 'lib/provisioning-keys'],
  ],
  'lib/mqtt-auth': ['lib/settings', 'lib/crypto', 'lib/database', 'lib/resolution'],
  'lib/bulk-assign': ['lib/database', 'lib/events', 'lib/resolution'],
  'lib/stats': ['lib/database'],
  'lib/panel': ['lib/settings', 'lib/crypto'],
  functions: [
    ...['lib/http', 'lib/database', 'lib/events', 'lib/resolution'],
    ...['lib/brokers', 'lib/provisioning-keys', 'lib/devices', 'lib/mqtt-auth', 'lib/bulk-assign'],
    ...['lib/stats', 'lib/panel'],
  ],
  'examples/device': [],
};

/** The packages that one file owns: nothing else in lib or functions imports them. */
const OWNERS = {
  postgres: 'lib/database/db.ts',
  mqtt: 'lib/mqtt/connect.ts',
  '@aws-lambda-powertools/logger': 'lib/log.ts',
  '@aws-lambda-powertools/metrics': 'lib/metrics.ts',
  '@aws-sdk/client-secrets-manager': 'lib/settings/secret-store.ts',
  'node-pg-migrate': 'lib/database/migrate.ts',
};

function sources(dir: string): string[] {
  return readdirSync(path.join(ROOT, dir), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.join(dir, name));
}

/** The modules that a file imports; relative ones as paths from the root. */
function importsOf(file: string): string[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const specifiers = [...text.matchAll(/(?:^|\n)(?:import|export)[^;]*?from '([^']+)'|import\('([^']+)'\)/g)];
  return specifiers
    .map(([, a, b]) => (a ?? b) as string)
    .map((name) => (name.startsWith('.') ? path.join(path.dirname(file), name) : name));
}

const house = [...sources('lib'), ...sources('functions')];

it('every folder of lib is in the map', () => {
  const folders = new Set(sources('lib').map((file) => path.dirname(file)));
  expect([...folders].filter((folder) => !(folder in MAY_IMPORT))).toEqual([]);
});

it.each([...house, ...sources('examples')])('%s imports only from the folders that the map allows', (file) => {
  const folder = path.dirname(file);
  const isExample = folder.startsWith('examples');
  for (const imported of importsOf(file)) {
    if (imported.endsWith('.ts')) {
      const allowed = [folder, ...(isExample ? [] : ['lib']), ...(MAY_IMPORT[folder] ?? [])];
      expect(allowed, `${file} → ${imported}`).toContain(path.dirname(imported));
    } else if (isExample) expect(imported, 'an example uses HTTP and MQTT only').toMatch(/^(node:|mqtt$)/);
    else if (folder === 'functions') expect(imported, 'a function imports lib and zod').toBe('zod/mini');
    else if (imported === 'aws-lambda') expect(folder, 'only lib/http knows Lambda').toBe('lib/http');
  }
});

it.each(Object.entries(OWNERS))('%s is imported by %s only', (name, owner) => {
  for (const file of house) if (file !== owner) expect(importsOf(file), file).not.toContain(name);
  expect(importsOf(owner)).toContain(name);
});

it.each(house)('%s keeps the rules', (file) => {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  // sql.begin and sql.reserve hang or crash when their connection dies: porsager/postgres#1208.
  expect(text).not.toMatch(/\.(begin|reserve)\s*(<[^>]*>)?\(/);
  // The named import bundles all of zod, 443 KB.
  expect(text).not.toMatch(/import \{[^}]*\bz\b[^}]*\} from 'zod/);
  if (path.dirname(file) !== 'lib/settings') {
    expect(text, 'only lib/settings reads the environment').not.toContain('process.env');
  }
});

it('lib/errors.ts imports nothing', () => {
  expect(importsOf('lib/errors.ts')).toEqual([]);
});

it('files are kebab-case, without barrels or catch-alls', () => {
  for (const file of [...house, ...sources('local'), ...sources('tools')]) {
    const name = path.basename(file);
    expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*\.ts$/);
    expect(name).not.toMatch(/^(index|utils?|helpers?|common|misc)\.ts$/);
  }
});

/**
 * What makes RDS Proxy pin a connection in PostgreSQL (Aurora User Guide, "Avoiding pinning an RDS Proxy"). Named prepared
 * statements of the extended protocol are not in that list.
 */
const PINS = new RegExp(
  [
    ...['nextval', 'setval', 'pg_(try_)?advisory_', 'set_config'].map((name) => `\\b${name}`),
    ...['create temp', 'declare \\w+ (cursor|no scroll)', 'listen \\w', 'load '].map(
      (command) => `sql\`\\s*${command}`,
    ),
    ...['set', 'reset', 'prepare', 'execute', 'deallocate', 'discard'].map((command) => `sql\`\\s*${command} `),
  ].join('|'),
  'i',
);

it('only these statements of functions make RDS Proxy pin a connection', () => {
  const pinning = house.filter((file) => PINS.test(readFileSync(path.join(ROOT, file), 'utf8')));
  // Migrations do not use the proxy. A new broker is rare; its function keeps the connection for 10 minutes at most.
  expect(pinning.sort()).toEqual(['lib/brokers/create.ts', 'lib/bulk-assign/run-batch.ts', 'lib/database/migrate.ts']);
});
