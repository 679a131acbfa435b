import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../tools/user-error.ts';
import { guard } from './guard.ts';
import { freePort } from './ports.ts';
import { endProcess } from './processes.ts';

const START_MS = 120_000;
const STOP_MS = 3_000;
const LAST_LINES = 12;
const GATEWAY = new URL('./gateway.mjs', import.meta.url).href;
/** What serverless-offline prints besides results: beginnings, durations, and stacks of errors that {@link GATEWAY} reports. */
const NOISE = [
  / \(λ: \S+\)$/,
  /^\(λ: \S+\) RequestId: /,
  /^Successfully invoked scheduled function: /,
  /^× (?!Failed to execute scheduled function)/,
  /^ {2,}/,
];

export type OfflineOptions = {
  /** The directory of serverless.yml. */
  root: string;
  port: number;
  /** The functions' environment, in addition to the environment of this process. */
  env: Record<string, string>;
  /** Receives everything that serverless-offline prints. */
  logFile: string;
  /** Receives, as soon as the service is ready, a line per request and what the functions print. */
  say: (line: string) => unknown;
};

export type Offline = {
  /** Resolves when it ends, for any reason. */
  exited: Promise<void>;
  /** The last lines that it printed, for an error message. */
  lastLog(): string;
  stop(): Promise<void>;
};

/**
 * Runs the functions under serverless-offline, and waits until the port answers. Ends with this process.
 * @throws UserError with the last lines if it does not start
 */
export async function startOffline(options: OfflineOptions): Promise<Offline> {
  const child = await launch(options);
  let isReady = false;
  const recent = follow(child, options.logFile, (line) => isReady && options.say(line));
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lastLog = () => recent.join('\n') || '(it printed nothing)';
  const stop = () => endProcess(child, ['SIGTERM', 'SIGKILL'], STOP_MS);
  for (const end = Date.now() + START_MS; !(await isAnswering(options.port)); await sleep(100)) {
    if (child.exitCode === null && child.signalCode === null && Date.now() < end) continue;
    const what = Date.now() < end ? 'did not start' : `did not answer within ${START_MS / 1000} s`;
    await stop();
    await exited;
    throw new UserError(`serverless-offline ${what}. It printed last:\n${lastLog()}`);
  }
  isReady = true;
  return { exited, lastLog, stop };
}

async function launch({ root, port, env }: OfflineOptions): Promise<ChildProcess> {
  const cli = createRequire(import.meta.url).resolve('serverless/package.json');
  const program = path.join(path.dirname(cli), 'bin', 'serverless.js');
  const ports = ['--httpPort', String(port), '--lambdaPort', String(await freePort())];
  const args = ['offline', 'start', '--stage', 'local', '--host', '127.0.0.1', ...ports, '--noSponsor'];
  const child = spawn(process.execPath, ['--import', GATEWAY, program, ...args], {
    cwd: root,
    env: {
      ...process.env,
      ...env,
      // Compiled schemas; by default they go to the home directory.
      SLS_SCHEMA_CACHE_BASE_DIR: path.join(root, 'node_modules', '.cache'),
      FORCE_COLOR: '0',
    },
    // A group of its own: Ctrl-C does not reach it. We stop it in the right order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  guard(child, 'SIGTERM');
  await once(child, 'spawn');
  return child;
}

/** Copies the output to the log file and its lines to `say`. The returned array always contains the last lines. */
function follow(child: ChildProcess, logFile: string, say: (line: string) => unknown): string[] {
  const recent: string[] = [];
  const log = fs.createWriteStream(logFile, { mode: 0o600 });
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    stream.pipe(log, { end: false });
    createInterface({ input: stream }).on('line', (line) => {
      if (line.trim() === '') return;
      recent.push(line);
      if (recent.length > LAST_LINES) recent.shift();
      if (!NOISE.some((pattern) => pattern.test(line))) say(line);
    });
  }
  child.once('close', () => log.end());
  return recent;
}

async function isAnswering(port: number): Promise<boolean> {
  try {
    const reply = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(5_000) });
    await reply.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
