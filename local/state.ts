import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../tools/user-error.ts';
import { freePort, portTaken } from './ports.ts';
import { commandOf, isAlive } from './processes.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Everything that `npm start` keeps; `npm run reset` removes it. */
export const STATE_DIR = path.join(ROOT, '.berth');
export const DATA_DIR = path.join(STATE_DIR, 'postgres');
export const POSTGRES_LOG = path.join(STATE_DIR, 'postgres.log');
export const OFFLINE_LOG = path.join(STATE_DIR, 'offline.log');
const PORT_FILE = path.join(STATE_DIR, 'postgres.port');
const LOCK_FILE = path.join(STATE_DIR, 'start.pid');
const SECRETS_FILE = path.join(STATE_DIR, 'secrets.json');
const LOCAL_FILE = path.join(STATE_DIR, 'local.json');

/** The content of `.berth/local.json`, which exists while the stack is ready. */
export type LocalFile = {
  /** `http://localhost:4002`, without `/api/v1`. */
  url: string;
  adminToken: string;
  /** '': the database of DATABASE_URL has brokers, so it gets no demo key. */
  provisioningKey: string;
  databaseUrl: string;
  brokers: { id: number; name: string; url: string }[];
};

/** Generated once and kept, so that keys and MQTT passwords stay valid from one start to the next. */
export type Secrets = {
  pepper: string;
  /** Seals brokers' passwords and private keys. */
  sealKey: string;
  adminToken: string;
  /** Of the MQTT user that the connection test of the embedded brokers logs in as. */
  probePassword: string;
  /** The demo key is valid only with the pepper that has this hash. */
  demoKey?: { key: string; pepperHash: string };
};

/**
 * Locks the clone for this `npm start`.
 *
 * @returns `crashed`: an earlier one did not unlock it, so its processes may still be ending
 * @throws UserError while another one runs
 */
export function lockState(): { crashed: boolean } {
  fs.mkdirSync(STATE_DIR, { recursive: true });
  // If root starts the stack, PostgreSQL runs as another user, who must reach its data.
  fs.chmodSync(STATE_DIR, 0o711);
  const holder = runningStart();
  if (holder !== undefined) {
    throw new UserError(`\`npm start\` is already running here (process ${holder}). Use it, or stop it with Ctrl-C.`);
  }
  const crashed = fs.existsSync(LOCK_FILE);
  fs.rmSync(LOCK_FILE, { force: true });
  fs.rmSync(LOCAL_FILE, { force: true });
  fs.writeFileSync(LOCK_FILE, String(process.pid), { flag: 'wx' });
  return { crashed };
}

/** The process id of the `npm start` that runs in this clone; undefined: none. */
export function runningStart(): number | undefined {
  const pid = fs.existsSync(LOCK_FILE) ? Number(fs.readFileSync(LOCK_FILE, 'utf8')) : 0;
  return pid > 0 && isAlive(pid) && commandOf(pid).includes('start.ts') ? pid : undefined;
}

export function unlockState(): void {
  fs.rmSync(LOCK_FILE, { force: true });
}

/** Reads the secrets, and generates missing ones. */
export function loadSecrets(): Secrets {
  const secrets: Secrets = {
    pepper: randomBytes(32).toString('base64url'),
    sealKey: randomBytes(32).toString('base64'),
    adminToken: randomBytes(24).toString('base64url'),
    probePassword: randomBytes(24).toString('base64url'),
    ...readSecrets(),
  };
  saveSecrets(secrets);
  return secrets;
}

function readSecrets(): Partial<Secrets> {
  if (!fs.existsSync(SECRETS_FILE)) return {};
  try {
    return JSON.parse(fs.readFileSync(SECRETS_FILE, 'utf8')) as Partial<Secrets>;
  } catch (error) {
    const reason = (error as Error).message;
    throw new UserError(
      `Cannot read ${SECRETS_FILE} (${reason}). Restore it, or delete all local data with \`npm run reset\`.`,
    );
  }
}

export function saveSecrets(secrets: Secrets): void {
  writePrivately(SECRETS_FILE, secrets);
}

export function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

export function writeLocalFile(local: LocalFile): void {
  writePrivately(LOCAL_FILE, local);
}

/** @throws UserError while no `npm start` of this clone is ready */
export function readLocalFile(): LocalFile {
  if (!fs.existsSync(LOCAL_FILE))
    throw new UserError('Nothing is running here. Run `npm start` in another terminal first.');
  return JSON.parse(fs.readFileSync(LOCAL_FILE, 'utf8')) as LocalFile;
}

export function removeLocalFile(): void {
  fs.rmSync(LOCAL_FILE, { force: true });
}

/** The port of the last start, so that saved connections keep working; a free one if it is taken. */
export async function postgresPort(): Promise<number> {
  const last = fs.existsSync(PORT_FILE) ? Number(fs.readFileSync(PORT_FILE, 'utf8')) : 0;
  if (last > 0 && !(await portTaken(last, '127.0.0.1'))) return last;
  const port = await freePort();
  fs.writeFileSync(PORT_FILE, String(port));
  return port;
}

/** Writes the file as a whole or not at all, readable only by its owner. */
function writePrivately(file: string, content: unknown): void {
  const draft = `${file}.new`;
  fs.rmSync(draft, { force: true });
  fs.writeFileSync(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  fs.renameSync(draft, file);
}
