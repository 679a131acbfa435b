import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const WATCHDOG = fileURLToPath(new URL('./watchdog.mjs', import.meta.url));

let watchdog: ChildProcess | undefined;

/**
 * Ends `child` when this process ends, whatever the reason. A detached watchdog (one per process) sends it `signal`, and
 * SIGKILL 10 s later.
 */
export function guard(child: ChildProcess, signal: NodeJS.Signals): void {
  const { pid } = child;
  if (pid === undefined) return;
  tell(`watch ${pid} ${signal}`);
  child.once('exit', () => tell(`forget ${pid}`));
}

function tell(line: string): void {
  watchdog ??= startWatchdog();
  watchdog.stdin?.write(`${line}\n`);
}

function startWatchdog(): ChildProcess {
  // Detached: a session of its own survives Ctrl-C and other signals to our process group.
  const child = spawn(process.execPath, [WATCHDOG], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  child.once('exit', () => {
    watchdog = undefined;
  });
  child.on('error', () => {});
  child.stdin?.on('error', () => {});
  // Neither may keep this process alive: the end of this process closes the pipe.
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return child;
}
