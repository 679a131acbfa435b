import { type ChildProcess, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Whether a process with this id exists, ours or another user's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * The command line of a process, joined by spaces; '' if there is no such process, or it cannot be read. Ids are reused, so
 * {@link isAlive} alone says little about an id from a file.
 */
export function commandOf(pid: number): string {
  try {
    // Slim containers have no `ps`.
    if (existsSync('/proc/self/cmdline')) {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    }
    return execFileSync('ps', ['-p', String(pid), '-o', 'command='], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return '';
  }
}

/** The process id of a process's parent; undefined without /proc. */
export function parentOf(pid: number): number | undefined {
  try {
    const [, parent] = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return parent === undefined ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}

/**
 * Ends a process with one signal after the other.
 * @param patienceMs how long to wait after each signal
 */
export async function endProcess(child: ChildProcess, signals: NodeJS.Signals[], patienceMs: number): Promise<void> {
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  for (const signal of signals) {
    if (hasEnded()) return;
    child.kill(signal);
    for (const end = Date.now() + patienceMs; Date.now() < end && !hasEnded(); ) await sleep(20);
  }
}
