import * as z from 'zod/mini';
import { admin } from '../lib/http/admin.ts';
import { endpoint, routes } from '../lib/http/endpoint.ts';
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

/** What operators read, in a function of its own: neither running jobs nor slow writes can take its executions. */
export const handler = routes(session, ...devices, ...brokers, ...provisioningKeys, ...jobs, ...stats);
