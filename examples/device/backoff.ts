const BASE_MS = 1_000;
const CAP_MS = 60_000;

/**
 * How long to wait before the next try, in ms: full jitter over an exponentially growing window. A whole fleet that
 * lost its server in the same second comes back spread over the window, not in waves.
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
export function retryAfterMs(header: string | null): number {
  if (!header) return 0;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Math.min(Math.max(ms || 0, 0), 3_600_000);
}
