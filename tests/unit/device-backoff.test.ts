import { expect, it } from 'vitest';
import { type Failure, retryDelay } from '../../examples/device/backoff.ts';

/** The minimum and maximum of 20,000 delays, in whole seconds. */
function range(attempt: number, failure: Failure): [number, number] {
  const delays = Array.from({ length: 20_000 }, () => retryDelay(attempt, failure) / 1_000);
  return [Math.round(Math.min(...delays)), Math.round(Math.max(...delays))];
}

it.each<[string, number, Failure, [number, number]]>([
  ['no reply: 0 to 1 s', 0, undefined, [0, 1]],
  ['no reply, 4th attempt: 0 to 8 s', 3, undefined, [0, 8]],
  ['no reply, 20th attempt: 0 to 60 s', 19, undefined, [0, 60]],
  ['500, 4th attempt: 0 to 8 s', 3, { status: 500, retryAfter: null }, [0, 8]],
  ['500 with Retry-After 7: 7 to 8 s', 0, { status: 500, retryAfter: '7' }, [7, 8]],
  ['503: 30 to 60 s', 0, { status: 503, retryAfter: null }, [30, 60]],
  ['503, 10th attempt: 30 to 60 s', 9, { status: 503, retryAfter: null }, [30, 60]],
  ['503 with Retry-After 2: 30 to 60 s', 0, { status: 503, retryAfter: '2' }, [30, 60]],
  ['503 with Retry-After 90: 90 to 120 s', 0, { status: 503, retryAfter: '90' }, [90, 120]],
  ['429 without Retry-After, as from a gateway: 30 to 60 s', 0, { status: 429, retryAfter: null }, [30, 60]],
  ['429 with Retry-After 100000: 3600 to 3630 s', 0, { status: 429, retryAfter: '100000' }, [3600, 3630]],
])('%s', (_, attempt, failure, expected) => {
  expect(range(attempt, failure)).toEqual(expected);
});
