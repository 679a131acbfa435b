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

const START_MS = 120_000;
const STOP_MS = 3_000;

export type OfflineOptions = {
  /** Directory of serverless.yml. */
  root: string;
  port: number;
  /** What the functions get, besides this process's environment. */
  env: Record<string, string>;
  /** Gets all that serverless-offline prints. */
  logFile: string;
  /** Receives, once the service answers, a line per request and whatever the functions print. */
  say: (line: string) => unknown;
};

export type Offline = {
  /** Settles when it ends, asked or not. */
  exited: Promise<void>;
  /** The last lines it printed, for an error message. */
  lastLog(): string;
  stop(): Promise<void>;
};

/**
 * Runs the functions under serverless-offline and waits until the port answers. Ends with this process.
 * @throws UserError with its last lines when it doesn't start
 */
export async function startOffline(options: OfflineOptions): Promise<Offline> {
  const child = await launch(options);
  let ready = false;
  const recent = follow(child, options.logFile, (line) => ready && options.say(line));
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lastLog = () => recent.join('\n') || '(it printed nothing)';
  const answering = waitUntilAnswering(options.port);
  const outcome = await Promise.race([answering.done, exited.then(() => 'exited' as const)]);
  answering.cancel();
  if (outcome !== 'answers') {
    await stop(child, exited);
    const what = outcome === 'exited' ? 'did not start' : `did not answer within ${START_MS / 1000} s`;
    throw new UserError(`serverless-offline ${what}. It printed last:\n${lastLog()}`);
  }
  ready = true;
  return { exited, lastLog, stop: () => stop(child, exited) };
}

async function launch({ root, port, env }: OfflineOptions): Promise<ChildProcess> {
  const cli = createRequire(import.meta.url).resolve('serverless/package.json');
  const lambdaPort = await freePort();
  const args = [
    'offline',
    'start',
    '--stage',
    'local',
    '--host',
    '127.0.0.1',
    '--httpPort',
    port,
    '--lambdaPort',
    lambdaPort,
    '--noSponsor',
  ];
  const child = spawn(process.execPath, [path.join(path.dirname(cli), 'bin', 'serverless.js'), ...args.map(String)], {
    cwd: root,
    env: {
      ...process.env,
      ...env,
      // Compiled schemas, which would otherwise go to the home directory.
      SLS_SCHEMA_CACHE_BASE_DIR: path.join(root, 'node_modules', '.cache'),
      FORCE_COLOR: '0',
    },
    // In a group of its own, so that Ctrl-C reaches it only through us, in its turn.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  guard(child, 'SIGTERM');
  await once(child, 'spawn');
  return child;
}

/** Copies the output to the log file and its lines to `say`; the array returned always holds the last few. */
function follow(child: ChildProcess, logFile: string, say: (line: string) => unknown): string[] {
  const recent: string[] = [];
  const log = fs.createWriteStream(logFile, { mode: 0o600 });
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    stream.pipe(log, { end: false });
    createInterface({ input: stream }).on('line', (line) => {
      if (line.trim() === '') return;
      recent.push(line);
      if (recent.length > 12) recent.shift();
      const shown = shownAs(line);
      if (shown) say(shown);
    });
  }
  child.once('close', () => log.end());
  return recent;
}

/** A line of serverless-offline as `npm start` shows it; undefined: not at all. */
function shownAs(line: string): string | undefined {
  // What follows each request: its id, duration and billed duration.
  if (/^\(λ: \S+\) RequestId: /.test(line)) return undefined;
  return line.replace(/ \(λ: \S+\)$/, '');
}

function waitUntilAnswering(port: number): { done: Promise<'answers' | 'silent'>; cancel(): void } {
  const stop = new AbortController();
  const done = (async () => {
    for (const end = Date.now() + START_MS; Date.now() < end && !stop.signal.aborted; await sleep(100)) {
      const reply = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(5_000) }).catch(
        () => undefined,
      );
      await reply?.arrayBuffer();
      if (reply) return 'answers';
    }
    return 'silent';
  })();
  return { done, cancel: () => stop.abort() };
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (child.exitCode !== null || child.signalCode !== null) break;
    child.kill(signal);
    const patience = new AbortController();
    await Promise.race([exited, sleep(STOP_MS, undefined, { signal: patience.signal }).catch(() => {})]);
    patience.abort();
  }
}
