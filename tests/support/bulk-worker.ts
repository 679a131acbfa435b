import { workOnOpenJobs } from '../../lib/bulk-assign/worker.ts';

/** A worker in its own process, which runs until it is killed. */
for (;;) {
  const requestId = crypto.randomUUID();
  await workOnOpenJobs({ requestId, sourceIp: '', actor: 'schedule', deadline: Date.now() + 60_000 });
  await new Promise((resolve) => setTimeout(resolve, 50));
}
