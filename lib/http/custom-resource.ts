import { setTimeout as sleep } from 'node:timers/promises';
import type { CloudFormationCustomResourceEvent, Context as LambdaContext } from 'aws-lambda';
import { log } from '../log.ts';

/** Lambda time that is kept for the answer. */
const RESERVE_MS = 20_000;
const ANSWER_ATTEMPTS = 4;
/** CloudFormation takes 4,096 bytes in all. */
const MAX_REASON_CHARS = 500;

type Properties = Readonly<Record<string, unknown>>;

/**
 * A step of a deploy as a Lambda handler: CloudFormation's custom resource, whose answer goes to the event's
 * `ResponseURL` and decides whether the deploy goes on, or an invocation by hand, which gets the result or the
 * error itself. Deleting the resource does nothing.
 *
 * @param id the resource's identity, which stays
 * @param run the step, to be done by `deadline` (epoch milliseconds); properties of a custom resource are strings
 */
export function customResource(id: string, run: (properties: Properties, deadline: number) => Promise<object>) {
  return async (event: CloudFormationCustomResourceEvent | Properties, context: LambdaContext): Promise<object> => {
    const deadline = Date.now() + context.getRemainingTimeInMillis() - RESERVE_MS;
    if (!isCustomResource(event)) return runInTime(run, event, deadline);
    const outcome = await outcomeOf(() =>
      event.RequestType === 'Delete' ? Promise.resolve({}) : runInTime(run, event.ResourceProperties, deadline),
    );
    await answer(event.ResponseURL, {
      ...outcome,
      PhysicalResourceId: id,
      StackId: event.StackId,
      RequestId: event.RequestId,
      LogicalResourceId: event.LogicalResourceId,
    });
    return outcome;
  };
}

function isCustomResource(event: object): event is CloudFormationCustomResourceEvent {
  return 'ResponseURL' in event;
}

async function outcomeOf(run: () => Promise<object>): Promise<object> {
  try {
    await run();
    return { Status: 'SUCCESS' };
  } catch (error) {
    const { message, stack } = error as Error;
    log.error('a step of the deploy failed', { reason: message, stack });
    return { Status: 'FAILED', Reason: message.slice(0, MAX_REASON_CHARS) };
  }
}

/** A step that takes too long fails while there is time to say so. */
async function runInTime(
  run: (properties: Properties, deadline: number) => Promise<object>,
  properties: Properties,
  deadline: number,
): Promise<object> {
  const timer = new AbortController();
  const tooLong = sleep(Math.max(0, deadline - Date.now()), undefined, { signal: timer.signal }).then(() => {
    throw new Error('It was not done in the time that the function has.');
  });
  try {
    return await Promise.race([run(properties, deadline), tooLong]);
  } finally {
    timer.abort();
    tooLong.catch(() => {});
  }
}

/** Without an answer a deploy waits for an hour: so more than once. */
async function answer(url: string, body: object): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      // As bytes: the address is signed for a request without a content type.
      const bytes = new TextEncoder().encode(JSON.stringify(body));
      const { status } = await fetch(url, { method: 'PUT', body: bytes, signal: AbortSignal.timeout(3_000) });
      if (status < 300) return;
      throw new Error(`CloudFormation’s address answers ${status}.`);
    } catch (error) {
      if (attempt === ANSWER_ATTEMPTS) throw error;
      await sleep(attempt * 500);
    }
  }
}
