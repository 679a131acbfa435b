const BASE_MS = 1_000;
const CAP_MS = 60_000;
/** 503 and 429: the server is there, but overloaded or without its database. That takes a minute, not a second. */
const UNAVAILABLE_MS = 30_000;

/** What came back instead of an answer that counts; undefined: nothing, or half of it. */
export type Failure = { status: number; retryAfter: string | null } | undefined;

/**
 * How long to wait after a try has failed, in ms. When nothing came back, the reply may just have got lost: soon, then
 * later and later. An unavailable server is left alone for 30 to 60 s, or for as long as it says.
 *
 * @param attempt how many tries have failed before this one, from 0
 */
export function retryDelay(attempt: number, failure: Failure): number {
  const floorMs = retryAfterMs(failure?.retryAfter ?? null);
  const isUnavailable = failure?.status === 503 || failure?.status === 429;
  if (isUnavailable) return backoff(0, Math.max(floorMs, UNAVAILABLE_MS), UNAVAILABLE_MS);
  return backoff(attempt, floorMs);
}

/**
 * A random wait in ms: full jitter over an exponentially growing window. A whole fleet that lost its server in the
 * same second comes back spread over the window, not in waves.
 *
 * @param attempt how many tries have failed before this one, from 0
 * @param floorMs wait at least this long (`Retry-After`); the jitter comes on top, or the fleet would meet again there
 * @param baseMs the first window; a base above the cap is its own cap
 */
export function backoff(attempt: number, floorMs = 0, baseMs = BASE_MS): number {
  const windowMs = Math.min(baseMs * 2 ** attempt, Math.max(CAP_MS, baseMs));
  return floorMs + Math.random() * windowMs;
}

/** A `Retry-After` header (seconds or a date) in ms, never above an hour; 0 when there is none. */
function retryAfterMs(header: string | null): number {
  if (!header) return 0;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Math.min(Math.max(ms || 0, 0), 3_600_000);
}
