import type { Context as LambdaContext, ScheduledEvent } from 'aws-lambda';
import type { Context } from '../context.ts';
import { loadSecrets } from '../settings/secret-store.ts';

/** Lambda time that a scheduled run leaves unused: what is begun is ended in it. */
const RESERVE_MS = 60_000;

/**
 * A scheduled run as a Lambda handler. The schedule delivers each event at least once.
 *
 * @param run gets the time of the event, the same at each delivery
 */
export function scheduled(run: (ctx: Context, time: string) => Promise<void>) {
  return async (event: Pick<ScheduledEvent, 'time'>, lambdaContext: LambdaContext): Promise<void> => {
    const requestId = lambdaContext.awsRequestId;
    const deadline = Date.now() + lambdaContext.getRemainingTimeInMillis() - RESERVE_MS;
    await loadSecrets(deadline);
    // An invocation by hand has no time: it is an event of its own.
    await run({ requestId, sourceIp: '', actor: 'schedule', deadline }, event.time ?? requestId);
  };
}
