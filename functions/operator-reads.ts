import * as z from 'zod/mini';
import { historyEvent, historyQuery, listHistory } from '../lib/events/list-history.ts';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
import { nextLink } from '../lib/http/page.ts';
import { reads as brokers } from './brokers.ts';
import { reads as jobs } from './bulk-assign-jobs.ts';
import { reads as devices } from './devices.ts';
import { reads as provisioningKeys } from './provisioning-keys.ts';
import { reads as stats } from './stats.ts';

const session = endpoint({
  method: 'GET',
  path: '/api/v1/session',
  summary: 'Who the credential belongs to, and what it may do',
  description: 'A panel asks when an operator signs in, and shows no action that would be refused.',
  auth: admin,
  replies: {
    200: {
      description: 'The actor, as history names it, and the scopes',
      body: z.object({ actor: z.string(), scopes: z.array(z.enum(['read', 'write'])) }),
    },
  },
  run: async ({ actor }, { scopes }) => ({ body: { actor, scopes } }),
});

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
export const handler = routes(session, ...devices, ...brokers, ...provisioningKeys, ...jobs, ...stats, events);
