import { expect, it } from 'vitest';
import { afterBatch, afterTimeout, isTimeout, minuteShare, startPace } from '../../lib/bulk-assign/pace.ts';

const batch = (ms: number, more = {}) => ({ size: 2_000, devices: 2_000, ms, busy: true, ...more });

it('alone, the size aims at batches of 100 to 200 ms, within 100 to 10,000 devices', () => {
  const after = (ms: number, size = 2_000) => afterBatch(startPace(size), batch(ms, { size, busy: false })).size;
  expect([after(100), after(200)]).toEqual([2_000, 2_000]);
  expect([after(300), after(600), after(60_000)]).toEqual([1_000, 500, 100]);
  expect([after(90), after(10)]).toEqual([3_000, 3_000]);
  expect(after(10, 9_000)).toBe(10_000);
});

it('while others are busy, the size aims at batches of 5 to 10 ms', () => {
  const after = (ms: number, size = 2_000) => afterBatch(startPace(size), batch(ms, { size })).size;
  expect([after(5), after(10)]).toEqual([2_000, 2_000]);
  expect([after(15), after(30), after(4)]).toEqual([1_000, 500, 3_000]);
});

it('the size halves after a timeout, to at least 100', () => {
  expect(afterTimeout(startPace(2_000))).toMatchObject({ size: 1_000, restMs: 1_000 });
  expect(afterTimeout(startPace(120)).size).toBe(100);
});

it('the rest is as long as the batch, longer when it was slower than usual, and none when alone', () => {
  const usual = afterBatch(startPace(2_000), batch(100));
  expect(usual.restMs).toBe(100);
  expect(afterBatch(usual, batch(200)).restMs).toBe(400);
  expect(afterBatch(usual, batch(5_000)).restMs, 'within the lease').toBe(1_000);
  expect(afterBatch(usual, batch(200, { busy: false })).restMs).toBe(0);
});

it('the usual time is that of a device, and follows slowly', () => {
  const usual = afterBatch(startPace(2_000), batch(100));
  expect(usual.usualMsPerDevice).toBeCloseTo(0.05);
  expect(afterBatch(startPace(2_000), batch(100, { devices: 0 })).usualMsPerDevice).toBe(100);
  expect(afterBatch(usual, batch(200)).usualMsPerDevice).toBeCloseTo(0.055);
  expect(afterBatch(usual, batch(50)).usualMsPerDevice).toBeCloseTo(0.0475);
});

it.each([
  [{ code: '55P03' }, true],
  [{ code: '57014' }, true],
  [{ code: '40P01' }, false],
  [undefined, false],
])('%o is a timeout: %s', (error, expected) => {
  expect(isTimeout(error)).toBe(expected);
});

it('without max_per_minute a batch takes its size and needs no gap', () => {
  expect(minuteShare(2_000, null)).toEqual({ limit: 2_000, gapMs: 0 });
});

it.each([1, 7, 59, 60, 100, 119, 1_000, 12_345, 600_000, 100_000_000])(
  'no 60 s contain more than %i moves',
  (perMinute) => {
    for (const size of [500, 2_000, 10_000]) {
      const { limit, gapMs } = minuteShare(size, perMinute);
      expect(limit).toBeLessThanOrEqual(size);
      // Batches start at 0, gap, 2·gap …: as many as start within 60 s, the end excluded.
      expect(Math.ceil(Math.round((60_000 / gapMs) * 1e6) / 1e6) * limit).toBeLessThanOrEqual(perMinute);
      expect((limit * 60_000) / gapMs, 'and not much less').toBeGreaterThan(perMinute * 0.8);
    }
  },
);
