import * as z from 'zod/mini';
import { historyEvent, historyQuery, listHistory } from '../lib/events/list-history.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { nextLink } from '../lib/http/page.ts';
import { reads as brokers } from './brokers.ts';
import { reads as jobs } from './bulk-assign-jobs.ts';
import { reads as devices } from './devices.ts';
import { reads as provisioningKeys } from './provisioning-keys.ts';

const eventsPath = '/api/v1/events';

const events = endpoint({
  method: 'GET',
  path: eventsPath,
  summary: 'List the history of devices and operators',
  description:
    'Newest first. Of devices: registrations, refusals, moves. Of operators: who created, changed, deleted or tested a broker, key or job. A page may have fewer events than `limit`, or none, although more follow: `next` is the link to the next page.',
  auth: admin,
  query: historyQuery,
  replies: {
    200: {
      description: 'A page',
      body: z.object({ items: z.array(historyEvent), next: z.optional(z.string()) }),
    },
  },
  run: async (ctx, { query }) => {
    const { items, lastId } = await listHistory(ctx, query);
    return { body: { items, ...nextLink(eventsPath, query, { before: lastId }) } };
  },
});

/** What operators read, in a function of its own: neither running jobs nor slow writes can take its executions. */
export const handler = routes(...devices, ...brokers, ...provisioningKeys, ...jobs, events);
