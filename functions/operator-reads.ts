import { routes } from '../lib/http/endpoint.ts';
import { reads as brokers } from './brokers.ts';
import { reads as jobs } from './bulk-assign-jobs.ts';
import { reads as devices } from './devices.ts';
import { reads as provisioningKeys } from './provisioning-keys.ts';

/** What operators read, in a function of its own: neither running jobs nor slow writes can take its executions. */
export const handler = routes(...devices, ...brokers, ...provisioningKeys, ...jobs);
