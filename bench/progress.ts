/** Tells what is measured now, and for how many seconds. */
export type Progress = (what: string, seconds: number) => void;

/**
 * Prints, as a part of the benchmark goes on, what is measured and how long it all still takes.
 * @param totalSeconds of all that will be told
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
