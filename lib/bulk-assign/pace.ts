import { MIN_SIZE } from './run-batch.ts';

const MAX_SIZE = 10_000;
/** How long a batch shall take. Beside others a short one: their commits wait for the disk behind what it has written. */
const AIM_MS = { alone: { min: 100, max: 200 }, busy: { min: 5, max: 10 } };
/** Shorter than the lease, which has to last until the next batch. */
const MAX_REST_MS = 1_000;
/** How fast the usual batch follows changes: a tenth of each new one. */
const INERTIA = 0.1;

/** How a worker goes about its batches: how many devices the next one wants, after how long a rest. */
export type Pace = { size: number; restMs: number; usualMsPerDevice: number | undefined };

export function startPace(size: number): Pace {
  return { size, restMs: 0, usualMsPerDevice: undefined };
}

/**
 * The pace after a batch. While others are at work it rests as long as it worked, and longer by as much as a
 * device took longer than usual; alone it doesn't rest.
 *
 * @param devices moved and skipped
 * @param ms what the batch took, as the worker saw it
 */
export function afterBatch(
  pace: Pace,
  { size, devices, ms, busy }: { size: number; devices: number; ms: number; busy: boolean },
): Pace {
  const msPerDevice = ms / Math.max(1, devices);
  const usual = pace.usualMsPerDevice ?? msPerDevice;
  const slowness = Math.max(1, msPerDevice / usual);
  return {
    size: nextSize(size, ms, busy ? AIM_MS.busy : AIM_MS.alone),
    restMs: busy ? Math.min(MAX_REST_MS, ms * slowness) : 0,
    usualMsPerDevice: usual + INERTIA * (msPerDevice - usual),
  };
}

/** The pace after a batch that had to give up waiting for a lock, or for the statement's time. */
export function afterTimeout({ size, usualMsPerDevice }: Pace): Pace {
  return { size: Math.max(MIN_SIZE, Math.floor(size / 2)), restMs: MAX_REST_MS, usualMsPerDevice };
}

function nextSize(size: number, ms: number, { min, max }: { min: number; max: number }): number {
  if (ms >= min && ms <= max) return size;
  // By a half up at most: a batch that found little to do says little about one that does.
  const factor = Math.min(1.5, (min + max) / 2 / Math.max(1, ms));
  return Math.round(Math.min(MAX_SIZE, Math.max(MIN_SIZE, size * factor)));
}
