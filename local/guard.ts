import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const WATCHDOG = fileURLToPath(new URL('./watchdog.mjs', import.meta.url));

let watchdog: ChildProcess | undefined;

/**
 * Makes sure that `child` ends when this process does, however that happens: a detached watchdog (one
 * for the whole process) sends it `signal` then, and SIGKILL 10 s later.
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
  // Detached: in a session of its own it survives Ctrl-C and what else is sent to our process group.
  const child = spawn(process.execPath, [WATCHDOG], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  child.once('exit', () => {
    watchdog = undefined;
  });
  child.on('error', () => {});
  child.stdin?.on('error', () => {});
  // Neither may keep this process alive; its end is what closes the pipe.
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return child;
}
