import { readdirSync, readFileSync } from 'node:fs';

/**
 * The CPU time that a PostgreSQL server's processes (backends, WAL writer …) have used so far, in ms. Undefined except on
 * Linux. The time of a process that has ended is lost: compare only while connections stay.
 */
export function serverCpuMs(postmaster: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  let nanoseconds = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      // The first figure is the time on a CPU in ns; `stat` has only hundredths of a second.
      if (parent === postmaster) nanoseconds += Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]);
    } catch {} // it has just ended
  }
  return nanoseconds / 1e6;
}
