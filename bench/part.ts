export type Options = { devices?: string; against?: string; quick?: boolean };

/** A part of the benchmark. It prints its figures and returns them. */
export type Part = (options: Options) => Promise<Record<string, unknown>>;

/** Says what is measured now, and for how many seconds. */
export type Progress = (what: string, seconds: number) => void;

/**
 * Prints what is measured, and how long the whole part still takes.
 * @param totalSeconds the sum of all seconds that will be reported
 */
export function progress(part: string, totalSeconds: number): Progress {
  let left = totalSeconds;
  return (what, seconds) => {
    console.error(`${part}, ${duration(left)} to go: ${what}`);
    left = Math.max(0, left - seconds);
  };
}

function duration(seconds: number): string {
  const rest = `${String(Math.round(seconds) % 60).padStart(2, '0')} s`;
  return seconds < 59.5 ? rest : `${Math.floor(Math.round(seconds) / 60)} min ${rest}`;
}
