import { countEvents } from '../../lib/stats/count-events.ts';

/** Counts events in its own process, in small batches, until it is killed. */
for (;;) {
  const requestId = crypto.randomUUID();
  await countEvents({ requestId, sourceIp: '', actor: 'schedule', deadline: Date.now() + 10_000 }, 7).catch(() => {});
}
