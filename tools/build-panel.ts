import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const PANEL = path.join(ROOT, 'panel');
const DIST = path.join(PANEL, 'dist');
/** What the files in dist are made from. */
const SOURCES = path.join(DIST, 'sources.sha256');

/**
 * Builds the panel, unless dist is made from the same sources and packages.
 * @returns whether it was built
 */
export async function buildPanelIfChanged(): Promise<boolean> {
  const sources = hashOfSources();
  if (existsSync(SOURCES) && readFileSync(SOURCES, 'utf8') === sources) return false;
  const { buildPanel } = await import('../panel/build.ts');
  await buildPanel({ outDir: DIST });
  mkdirSync(DIST, { recursive: true });
  writeFileSync(SOURCES, sources);
  return true;
}

/** Changes with any file of panel/, and with the packages that the panel is made of. */
function hashOfSources(): string {
  const hash = createHash('sha256').update(readFileSync(path.join(ROOT, 'package.json')));
  const files = readdirSync(PANEL, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.join(parentPath, name))
    .filter((file) => !file.startsWith(DIST + path.sep));
  for (const file of files.sort()) hash.update(path.relative(PANEL, file)).update('\0').update(readFileSync(file));
  return hash.digest('hex');
}
