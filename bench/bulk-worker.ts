import { randomUUID } from 'node:crypto';
import { workOn } from '../lib/bulk-assign/worker.ts';
import { closeDatabase } from '../lib/database/db.ts';

/** The worker as a process of its own: works on the job that it is told, prints its peak memory in MB. */
const job = await workOn(
  { requestId: randomUUID(), sourceIp: '', actor: 'schedule', deadline: Date.now() + 3_600_000 },
  Number(process.argv[2]),
);
await closeDatabase();
console.log(JSON.stringify({ state: job.state, peakMb: process.resourceUsage().maxRSS / 1024 }));
