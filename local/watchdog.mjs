// Ends the processes of `npm start` or of the tests when their owner has ended without ending them (SIGKILL, a crash). It
// reads lines from its stdin, a pipe that only its owner holds:
//   watch <pid> <signal>    end this process with this signal when the pipe closes
//   forget <pid>            it has ended: another process may have its id now
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const GRACE_MS = 10_000;
const watched = new Map();

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, pid, signal] = line.split(' ');
  if (verb === 'watch') watched.set(Number(pid), signal);
  if (verb === 'forget') watched.delete(Number(pid));
}

for (const [pid, signal] of watched) send(pid, signal);
for (const end = Date.now() + GRACE_MS; Date.now() < end && alive().length > 0; ) await sleep(50);
for (const pid of alive()) send(pid, 'SIGKILL');

function alive() {
  return [...watched.keys()].filter((pid) => send(pid, 0) && !isZombie(pid));
}

/** Ended, but not reaped: it stays like that in a container without an init process. */
function isZombie(pid) {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function send(pid, signal) {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
