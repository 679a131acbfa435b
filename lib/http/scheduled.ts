import type { Context as LambdaContext, ScheduledEvent } from 'aws-lambda';
import type { Context } from '../context.ts';
import { loadSecrets } from '../settings/secret-store.ts';

/** Lambda time that a scheduled run leaves unused, so that it can finish what it has begun. */
const RESERVE_MS = 60_000;

/**
 * A scheduled run as a Lambda handler. The schedule delivers each event at least once.
 *
 * @param run receives the time of the event, which is the same for every delivery
 */
export function scheduled(run: (ctx: Context, time: string) => Promise<void>) {
  return async (event: Pick<ScheduledEvent, 'time'>, lambdaContext: LambdaContext): Promise<void> => {
    const requestId = lambdaContext.awsRequestId;
    const deadline = Date.now() + lambdaContext.getRemainingTimeInMillis() - RESERVE_MS;
    await loadSecrets(deadline);
    // A manual invocation has no time. Each one is a separate event.
    await run({ requestId, sourceIp: '', actor: 'schedule', deadline }, event.time ?? requestId);
  };
}
