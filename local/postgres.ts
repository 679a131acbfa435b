import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../tools/user-error.ts';
import { guard } from './guard.ts';
import { type PostgresHome, postgresHome, type ServerUser } from './postgres-home.ts';
import { commandOf, endProcess, isAlive } from './processes.ts';

const START_MS = 60_000;
/** How long to wait for a server whose owner was killed: it is ending, but still uses the data. */
const HANDOVER_MS = 5_000;

export type PostgresOptions = {
  /** Created on first use, with `<dataDir>.password` (mode 600) and `<dataDir>.log` beside it. */
  dataDir: string;
  /** TCP port on 127.0.0.1. The server listens nowhere else. */
  port: number;
  maxConnections?: number;
  /** Additional server settings, e.g. `{ fsync: 'off' }`. */
  settings?: Record<string, string>;
  /** The server's log file; default `<dataDir>.log`. Truncated at every start. */
  log?: string;
  /** Receives a line if the data is kept in another directory. */
  say?: (line: string) => void;
};

export type Postgres = {
  port: number;
  pid: number;
  /** The real data directory; see {@link postgresHome}. */
  dataDir: string;
  /** `postgres://…` of a database of this server, for its superuser. */
  url(database: string): string;
  /** Resolves when the server ends, for any reason. */
  exited: Promise<void>;
  /** The last lines of the server's log, for an error message. */
  lastLog(): string;
  /** Fast shutdown (open transactions roll back). Waits until the server has ended. */
  stop(): Promise<void>;
};

/**
 * Starts PostgreSQL on `dataDir`, and creates the cluster if it does not exist. The server ends with this process, even if
 * this process is killed.
 *
 * @throws UserError if another server uses the data, or this one does not start. The message contains the end of its log
 */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const home = postgresHome(path.resolve(options.dataDir), options.say ?? (() => {}));
  await refuseWhileInUse(home.dataDir);
  await createCluster(home, options.settings?.fsync === 'off');
  const logFile = options.log ?? `${path.resolve(options.dataDir)}.log`;
  const child = await launch(home, options, logFile);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await waitUntilReady(child, home.dataDir, () => tail(logFile));
  const password = fs.readFileSync(passwordFile(home), 'utf8').trim();
  let stopping: Promise<void> | undefined;
  return {
    port: options.port,
    pid: child.pid as number,
    dataDir: home.dataDir,
    url: (database) => `postgres://postgres:${password}@127.0.0.1:${options.port}/${encodeURIComponent(database)}`,
    exited,
    lastLog: () => tail(logFile),
    stop: () => {
      stopping ??= endProcess(child, ['SIGINT', 'SIGQUIT', 'SIGKILL'], 10_000);
      return stopping;
    },
  };
}

/** The process id of the server that runs on `dataDir`; undefined: none. */
export function runningServer(dataDir: string): number | undefined {
  const lockFile = path.join(dataDir, 'postmaster.pid');
  if (!fs.existsSync(lockFile)) return undefined;
  const pid = Number.parseInt(fs.readFileSync(lockFile, 'utf8'), 10);
  if (!isAlive(pid)) return undefined;
  if (commandOf(pid).includes('postgres') && worksIn(pid, dataDir)) return pid;
  // After a power cut another process can have this id, and PostgreSQL would refuse to start.
  fs.rmSync(lockFile);
  return undefined;
}

/** A server's working directory is its data directory. True if the directory cannot be read. */
function worksIn(pid: number, dataDir: string): boolean {
  try {
    return fs.readlinkSync(`/proc/${pid}/cwd`) === dataDir;
  } catch {
    return true;
  }
}

async function refuseWhileInUse(dataDir: string): Promise<void> {
  for (const end = Date.now() + HANDOVER_MS; ; await sleep(100)) {
    const pid = runningServer(dataDir);
    if (pid === undefined) return;
    if (Date.now() > end) {
      throw new UserError(`Another \`npm start\` uses ${dataDir} (PostgreSQL is process ${pid}). Stop it first.`);
    }
  }
}

async function createCluster(home: PostgresHome, isThrowaway: boolean): Promise<void> {
  const { dataDir, binDir, user } = home;
  if (fs.existsSync(dataDir)) return checkCluster(home);
  // Created under another name: an incomplete cluster is then never used.
  const draft = `${dataDir}.new`;
  fs.rmSync(draft, { recursive: true, force: true });
  fs.mkdirSync(draft, { mode: 0o700 });
  fs.rmSync(passwordFile(home), { force: true });
  fs.writeFileSync(passwordFile(home), `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
  for (const file of user ? [draft, passwordFile(home)] : []) fs.chownSync(file, user?.uid ?? 0, user?.gid ?? 0);
  const authentication = ['-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile(home)}`];
  const format = ['-E', 'UTF8', '--locale=C', '--no-instructions', ...(isThrowaway ? ['--no-sync'] : [])];
  await run(path.join(binDir, 'initdb'), ['-D', draft, ...authentication, ...format], user);
  if (user) fs.chownSync(passwordFile(home), 0, 0);
  fs.renameSync(draft, dataDir);
}

function checkCluster({ dataDir, binDir, user }: PostgresHome): void {
  try {
    const version = fs.readFileSync(path.join(dataDir, 'PG_VERSION'), 'utf8').trim();
    if (version !== '18') {
      throw new UserError(`${dataDir} belongs to PostgreSQL ${version}, this is 18. Delete it with \`npm run reset\`.`);
    }
    fs.accessSync(path.join(binDir, 'postgres'), fs.constants.X_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    throw new UserError(`${dataDir} belongs to another user, perhaps root. Run as that user, or delete it.`);
  }
  if (user && fs.statSync(dataDir).uid !== user.uid) giveTo(user, dataDir);
}

/** Data of another user's server must belong to our server's user, or the server refuses to start. */
function giveTo(user: ServerUser, dir: string): void {
  for (const entry of ['', ...fs.readdirSync(dir, { recursive: true, encoding: 'utf8' })]) {
    fs.lchownSync(path.join(dir, entry), user.uid, user.gid);
  }
}

async function launch(home: PostgresHome, options: PostgresOptions, logFile: string): Promise<ChildProcess> {
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: String(options.maxConnections ?? 100),
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...options.settings,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  // A file, not a pipe: the server can then write when this process has ended.
  const log = fs.openSync(logFile, 'w', 0o600);
  const command = path.join(home.binDir, 'postgres');
  const child = spawn(command, ['-D', home.dataDir, '-p', String(options.port), ...args], {
    ...spawnOptions(home.user),
    stdio: ['ignore', log, log],
  });
  fs.closeSync(log);
  guard(child, 'SIGINT');
  await spawned(child, command);
  return child;
}

function spawnOptions(user: ServerUser | undefined): SpawnOptions {
  // A session of its own: Ctrl-C does not reach it. We stop it in the right order.
  return { cwd: '/', detached: true, env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' }, ...user };
}

async function spawned(child: ChildProcess, command: string): Promise<void> {
  try {
    await once(child, 'spawn');
  } catch (error) {
    const reason = (error as Error).message;
    throw new UserError(`Cannot run ${command} (${reason}). Set DATABASE_URL to a database of yours.`);
  }
}

async function run(command: string, args: string[], user: ServerUser | undefined): Promise<void> {
  const child = spawn(command, args, { ...spawnOptions(user), stdio: ['ignore', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => output.push(chunk));
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  guard(child, 'SIGTERM');
  await spawned(child, command);
  if ((await closed) === 0) return;
  throw new UserError(`${path.basename(command)} failed:\n${lastLines(Buffer.concat(output).toString())}`);
}

/** Waits like pg_ctl: the server writes its state into the 8th line of its lock file. */
async function waitUntilReady(child: ChildProcess, dataDir: string, log: () => string): Promise<void> {
  const lockFile = path.join(dataDir, 'postmaster.pid');
  for (const end = Date.now() + START_MS; Date.now() < end; await sleep(20)) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new UserError(`PostgreSQL did not start. Its log ends with:\n${log()}`);
    }
    const lines = fs.existsSync(lockFile) ? fs.readFileSync(lockFile, 'utf8').split('\n') : [];
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return;
  }
  child.kill('SIGQUIT');
  throw new UserError(`PostgreSQL was not ready within ${START_MS / 1000} s. Its log ends with:\n${log()}`);
}

function passwordFile({ dataDir }: PostgresHome): string {
  return `${dataDir}.password`;
}

function tail(logFile: string): string {
  return fs.existsSync(logFile) ? lastLines(fs.readFileSync(logFile, 'utf8')) : '(no log)';
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-8).join('\n');
}
