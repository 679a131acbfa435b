import { setTimeout as sleep } from 'node:timers/promises';
import type { CloudFormationCustomResourceEvent, Context as LambdaContext } from 'aws-lambda';
import { withDeadline } from '../deadline.ts';
import { log } from '../log.ts';

/** Lambda time reserved for the answer. */
const RESERVE_MS = 20_000;
const ANSWER_ATTEMPTS = 4;
/** CloudFormation accepts an answer of 4,096 bytes. */
const MAX_REASON_CHARS = 500;

type Properties = Readonly<Record<string, unknown>>;

/**
 * A step of a deploy as a Lambda handler. Invoked as a CloudFormation custom resource, it answers to the event's
 * `ResponseURL`, and the answer decides whether the deploy continues. Invoked manually, it returns the result or
 * throws the error. Deleting the resource does nothing.
 *
 * @param id the constant identity of the resource
 * @param run the step; it must finish by `deadline` (epoch milliseconds). Properties of a custom resource are strings
 */
export function customResource(id: string, run: (properties: Properties, deadline: number) => Promise<object>) {
  return async (event: CloudFormationCustomResourceEvent | Properties, context: LambdaContext): Promise<object> => {
    const budgetMs = context.getRemainingTimeInMillis() - RESERVE_MS;
    const runInTime = (properties: Properties) =>
      withDeadline(
        run(properties, Date.now() + budgetMs),
        budgetMs,
        () => new Error('The step did not finish in the time of the function.'),
      );
    if (!isCustomResource(event)) return runInTime(event);
    const outcome = await outcomeOf(() =>
      event.RequestType === 'Delete' ? Promise.resolve({}) : runInTime(event.ResourceProperties),
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

/** Without an answer a deploy waits for an hour, so repeat a failed one. */
async function answer(url: string, body: object): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      // Bytes, because the URL is signed for a request without a content type.
      const bytes = new TextEncoder().encode(JSON.stringify(body));
      const { status } = await fetch(url, { method: 'PUT', body: bytes, signal: AbortSignal.timeout(3_000) });
      if (status < 300) return;
      throw new Error(`The ResponseURL answered with status ${status}.`);
    } catch (error) {
      if (attempt === ANSWER_ATTEMPTS) throw error;
      await sleep(attempt * 500);
    }
  }
}
