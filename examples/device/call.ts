import { setTimeout as sleep } from 'node:timers/promises';
import { type Failure, retryDelay } from './backoff.ts';
import { say, url } from './identity.ts';

/**
 * Calls Berth until it gets a final reply. Network errors, incomplete replies, 10 s without a reply, 429 and 5xx are
 * retried. Use https except on a laptop: both keys and the MQTT password are in these requests.
 */
export async function call(path: string, key: string, init: { method?: string; headers: object; body?: string }) {
  for (let attempt = 0; ; attempt++) {
    let reason: string;
    let failure: Failure;
    try {
      const headers = { ...init.headers, authorization: `Bearer ${key}` };
      const reply = await fetch(`${url}/api/v1${path}`, { ...init, headers, signal: AbortSignal.timeout(10_000) });
      const text = await reply.text();
      const isJson = reply.status === 200 || (text && reply.headers.get('content-type')?.includes('json'));
      const body = isJson ? JSON.parse(text) : {};
      const problem = `${reply.status} ${body.code ?? reply.statusText}: ${body.detail ?? 'no explanation'}`; // RFC 9457
      const answer = { status: reply.status, etag: reply.headers.get('etag'), body, problem };
      if (reply.status < 500 && reply.status !== 429) return answer;
      reason = problem;
      failure = { status: reply.status, retryAfter: reply.headers.get('retry-after') };
    } catch (error) {
      reason = String((error as Error).cause ?? error);
    }
    const waitMs = retryDelay(attempt, failure);
    say(`trying ${url} again in ${(waitMs / 1_000).toFixed(1)} s (${reason})`);
    await sleep(waitMs);
  }
}
