export const MIN_SIZE = 100;
const MAX_SIZE = 10_000;
/** Target duration of a batch. Short while others work: their commits wait for the disk behind what the batch has written. */
const TARGET_MS = { alone: { min: 100, max: 200 }, busy: { min: 5, max: 10 } };
/** Shorter than the lease, which must last until the next batch. */
const MAX_REST_MS = 1_000;
/** Share of each new batch in the usual time per device (an exponential moving average). */
const WEIGHT = 0.1;
/** Lock timeout and statement timeout. */
const TIMEOUTS = new Set<unknown>(['55P03', '57014']);

/** How many devices the next batch takes, and how long the worker rests before it. */
export type Pace = { size: number; restMs: number; usualMsPerDevice: number | undefined };

export function startPace(size: number): Pace {
  return { size, restMs: 0, usualMsPerDevice: undefined };
}

/**
 * The pace after a batch. While other sessions are busy, the worker rests as long as the batch took, and longer by the factor
 * that a device took longer than usual. Alone, it does not rest.
 *
 * @param devices moved and skipped
 * @param ms duration of the batch as the worker measured it
 */
export function afterBatch(
  pace: Pace,
  { size, devices, ms, busy }: { size: number; devices: number; ms: number; busy: boolean },
): Pace {
  const msPerDevice = ms / Math.max(1, devices);
  const usual = pace.usualMsPerDevice ?? msPerDevice;
  const slowness = Math.max(1, msPerDevice / usual);
  return {
    size: nextSize(size, ms, busy ? TARGET_MS.busy : TARGET_MS.alone),
    restMs: busy ? Math.min(MAX_REST_MS, ms * slowness) : 0,
    usualMsPerDevice: usual + WEIGHT * (msPerDevice - usual),
  };
}

/** The pace after a batch that ran into a lock timeout or statement timeout each time it was tried. */
export function afterTimeout({ size, usualMsPerDevice }: Pace): Pace {
  return { size: halved(size), restMs: MAX_REST_MS, usualMsPerDevice };
}

/** Whether a database error says that a batch was too large for its time or its locks. */
export function isTimeout(error: unknown): boolean {
  return TIMEOUTS.has((error as { code?: unknown } | undefined)?.code);
}

export function halved(size: number): number {
  return Math.max(MIN_SIZE, Math.floor(size / 2));
}

/**
 * The share of `max_per_minute` that one batch may use: how many devices it may move, and how long after its start the next
 * batch may start. No span of 60 seconds contains more than `perMinute` moves.
 */
export function minuteShare(size: number, perMinute: number | null): { limit: number; gapMs: number } {
  if (perMinute === null) return { limit: size, gapMs: 0 };
  const limit = Math.min(size, Math.max(1, Math.floor(perMinute / 60)));
  return { limit, gapMs: 60_000 / Math.floor(perMinute / limit) };
}

function nextSize(size: number, ms: number, { min, max }: { min: number; max: number }): number {
  if (ms >= min && ms <= max) return size;
  // At most half as much again: a batch that found little to do says little about one that finds much.
  const factor = Math.min(1.5, (min + max) / 2 / Math.max(1, ms));
  return Math.round(Math.min(MAX_SIZE, Math.max(MIN_SIZE, size * factor)));
}
