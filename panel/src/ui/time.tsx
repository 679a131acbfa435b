import { signal } from '@preact/signals';

const UNITS: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });
const absolute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** Now, to within 10 s: relative times grow old while a page is open. */
const now = signal(Date.now());
setInterval(() => {
  if (document.visibilityState === 'visible') now.value = Date.now();
}, 10_000);

/** `3 min. ago`, `in 2 days`. */
export function relativeTime(at: number, from: number): string {
  const seconds = Math.round((at - from) / 1000);
  const [unit, size] = UNITS.find(([, one]) => Math.abs(seconds) >= one) ?? ['second', 1];
  if (unit === 'second' && Math.abs(seconds) < 10) return 'just now';
  return relative.format(Math.trunc(seconds / (size as number)), unit as Intl.RelativeTimeFormatUnit);
}

/** A moment, relative to now; its title is the exact one. */
export function Time({ at }: { at: string | null | undefined }) {
  if (!at) return <span class="muted">—</span>;
  const date = new Date(at);
  return (
    <time dateTime={at} title={`${absolute.format(date)} (${at})`}>
      {relativeTime(date.getTime(), now.value)}
    </time>
  );
}

/** `counted 40 s ago`: how old numbers are. `at`: epoch milliseconds or ISO 8601. */
export function Age({ at, verb = 'fetched' }: { at: number | string | undefined; verb?: string }) {
  if (at === undefined) return null;
  const moment = typeof at === 'string' ? Date.parse(at) : at;
  // The clock of `now` is up to 10 s behind a reply that has just arrived.
  const from = Math.max(now.value, moment);
  return (
    <span class="age" title={absolute.format(moment)}>
      {verb} {relativeTime(moment, from)}
    </span>
  );
}

/** `1 h 5 min`, for the time that is left. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3_600)} h ${Math.round((seconds % 3_600) / 60)} min`;
}
