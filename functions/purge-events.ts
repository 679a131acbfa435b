import { purgeEvents } from '../lib/events/purge.ts';
import { scheduled } from '../lib/http/scheduled.ts';

/** Scheduled: removes old events. */
export const handler = scheduled((ctx) => purgeEvents(ctx));
