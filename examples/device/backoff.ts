const BASE_MS = 1_000;
const CAP_MS = 60_000;
/** 503 and 429: the server is overloaded or its database is down. That takes a minute, not a second. */
const UNAVAILABLE_MS = 30_000;

/** The reply to a failed try; undefined: no reply, or an incomplete one. */
export type Failure = { status: number; retryAfter: string | null } | undefined;

/**
 * How long to wait after a failed try, in ms. Without a reply the wait is short at first, then longer: only the reply may
 * have been lost. After an unavailable server it is 30 to 60 s, or longer if the server says so.
 *
 * @param attempt how many tries failed before this one, from 0
 */
export function retryDelay(attempt: number, failure: Failure): number {
  const floorMs = retryAfterMs(failure?.retryAfter ?? null);
  const isUnavailable = failure?.status === 503 || failure?.status === 429;
  if (isUnavailable) return backoff(0, Math.max(floorMs, UNAVAILABLE_MS), UNAVAILABLE_MS);
  return backoff(attempt, floorMs);
}

/**
 * A random wait in ms: full jitter over an exponentially growing window. A fleet that lost its server in the same second
 * comes back spread over the window, not in waves.
 *
 * @param attempt how many tries failed before this one, from 0
 * @param floorMs the minimum (`Retry-After`). The jitter is added to it: otherwise the whole fleet would return together
 * @param baseMs the first window. A base above the cap is its own cap
 */
export function backoff(attempt: number, floorMs = 0, baseMs = BASE_MS): number {
  const windowMs = Math.min(baseMs * 2 ** attempt, Math.max(CAP_MS, baseMs));
  return floorMs + Math.random() * windowMs;
}

/** A `Retry-After` header (seconds or a date) in ms, at most an hour; 0 without a header. */
function retryAfterMs(header: string | null): number {
  if (!header) return 0;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Math.min(Math.max(ms || 0, 0), 3_600_000);
}
