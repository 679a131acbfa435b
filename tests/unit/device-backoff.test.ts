import { expect, it } from 'vitest';
import { type Failure, retryDelay } from '../../examples/device/backoff.ts';

/** The least and the most of many draws, in whole seconds. */
function range(attempt: number, failure: Failure): [number, number] {
  const draws = Array.from({ length: 20_000 }, () => retryDelay(attempt, failure) / 1_000);
  return [Math.round(Math.min(...draws)), Math.round(Math.max(...draws))];
}

it.each<[string, number, Failure, [number, number]]>([
  ['no answer: within a second', 0, undefined, [0, 1]],
  ['no answer for the fourth time: within 8 s', 3, undefined, [0, 8]],
  ['no answer for the twentieth time: within a minute', 19, undefined, [0, 60]],
  ['500: the same', 3, { status: 500, retryAfter: null }, [0, 8]],
  ['500 with Retry-After: not before', 0, { status: 500, retryAfter: '7' }, [7, 8]],
  ['503: after 30 to 60 s', 0, { status: 503, retryAfter: null }, [30, 60]],
  ['503 once more: the same', 9, { status: 503, retryAfter: null }, [30, 60]],
  ['503 with a short Retry-After: the same', 0, { status: 503, retryAfter: '2' }, [30, 60]],
  ['503 with a long one: not before', 0, { status: 503, retryAfter: '90' }, [90, 120]],
  ['429 from a gateway: after 30 to 60 s', 0, { status: 429, retryAfter: null }, [30, 60]],
  ['429 with a very long Retry-After: at most an hour', 0, { status: 429, retryAfter: '100000' }, [3600, 3630]],
])('%s', (_, attempt, failure, expected) => {
  expect(range(attempt, failure)).toEqual(expected);
});
