import { workOnOpenJobs } from '../../lib/bulk-assign/worker.ts';

/** A worker as a process of its own, to be killed: works until it is. */
for (;;) {
  const requestId = crypto.randomUUID();
  await workOnOpenJobs({ requestId, sourceIp: '', actor: 'schedule', deadline: Date.now() + 60_000 });
  await new Promise((resolve) => setTimeout(resolve, 50));
}
