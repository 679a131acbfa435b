import { storeCounts } from '../lib/brokers/store-counts.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint } from '../lib/http/endpoint.ts';
import { scheduled } from '../lib/http/scheduled.ts';
import { countEvents, removeOldCounts } from '../lib/stats/count-events.ts';
import { getStats, statsQuery, statsReply } from '../lib/stats/get-stats.ts';

const stats = endpoint({
  method: 'GET',
  path: '/api/v1/stats',
  summary: 'Numbers of devices and events',
  description:
    'Devices by broker, and events by minute or hour, as a schedule counted them: about a minute old, whatever the number of devices.',
  auth: admin,
  query: statsQuery,
  replies: { 200: { description: 'The numbers, with the time they were counted', body: statsReply } },
  run: async (ctx, { query }) => ({ body: await getStats(ctx, query) }),
});

/** Served by operator-reads.ts. */
export const reads = [stats];

/** Scheduled: counts devices and events. */
export const handler = scheduled(async (ctx) => {
  await storeCounts(ctx);
  await countEvents(ctx);
  await removeOldCounts(ctx);
});
