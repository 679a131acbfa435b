import { setTimeout as sleep } from 'node:timers/promises';
import { runProgram, UserError } from '../tools/user-error.ts';
import { readLocalFile } from './state.ts';

type Job = {
  id: number;
  state: string;
  failure: string | null;
  moved: number;
  already_there: number;
  skipped: number;
  notice: string | null;
  progress: number;
  devices_per_second: number | null;
  seconds_left: number | null;
};

const POLL_MS = 500;
const BAR = 30;

/** `npm run jobs` prints the latest bulk-assign jobs. `npm run jobs -- watch ID` follows one until it ends. */
async function jobs([verb, id]: string[]): Promise<number> {
  if (verb === undefined || verb === 'list') {
    const { jobs: latest } = await ask<{ jobs: Job[] }>('');
    for (const job of latest) console.log(`${job.id}: ${lineOf(job)}`);
    if (latest.length === 0) console.log('There is no job yet.');
    return 0;
  }
  if (verb !== 'watch' || !/^\d+$/.test(id ?? '')) throw new UserError('Usage: npm run jobs -- [list | watch ID]');
  return watch(Number(id));
}

/** @returns the exit code: 0 if the job has finished */
async function watch(id: number): Promise<number> {
  for (let last = ''; ; await sleep(POLL_MS)) {
    const job = await ask<Job>(`/${id}`);
    const line = `${barOf(job.progress)} ${lineOf(job)}`;
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line}`);
    else if (line !== last) console.log(line);
    last = line;
    if (job.state === 'queued' || job.state === 'running') continue;
    if (process.stdout.isTTY) process.stdout.write('\n');
    return job.state === 'finished' ? 0 : 1;
  }
}

function barOf(progress: number): string {
  const full = Math.round(progress * BAR);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR - full)}] ${String(Math.floor(progress * 100)).padStart(3)} %`;
}

function lineOf({
  state,
  failure,
  moved,
  already_there,
  skipped,
  notice,
  devices_per_second,
  seconds_left,
}: Job): string {
  const parts = [failure ? `${state} (${failure})` : state, `${moved} moved`];
  if (already_there > 0) parts.push(`${already_there} already there`);
  if (skipped > 0) parts.push(`${skipped} skipped`);
  if (devices_per_second !== null) parts.push(`${Math.round(devices_per_second)}/s`);
  if (seconds_left !== null) parts.push(`${seconds_left} s left`);
  if (notice) parts.push(notice);
  return parts.join(', ');
}

async function ask<T>(path: string): Promise<T> {
  const { url, adminToken } = readLocalFile();
  const reply = await fetch(`${url}/api/v1/devices/bulk-assign${path}`, {
    headers: { authorization: `Bearer ${adminToken}` },
  });
  const body = (await reply.json()) as T & { message?: string };
  if (!reply.ok) throw new UserError(body.message ?? `Berth answered ${reply.status}.`);
  return body;
}

await runProgram(() => jobs(process.argv.slice(2)));
