import { type Signal, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { get } from '../api/client.ts';
import { Failure } from '../api/failure.ts';

/** What is known of a path of the API. `data` stays while it is fetched again, and when that fails. */
export type Known<T> = {
  data?: T;
  etag?: string | undefined;
  /** Epoch milliseconds of the last reply, also of a 304. */
  at?: number;
  failure?: Failure | undefined;
  isLoading: boolean;
};

type Entry = {
  path: string;
  known: Signal<Known<unknown>>;
  users: number;
  fetching?: AbortController | undefined;
  isStale: boolean;
  /** It was deleted here: nothing asks for it again. */
  isGone?: boolean;
};

/** A page that is left and opened again immediately shows what it had. */
const MAX_ENTRIES = 60;
const entries = new Map<string, Entry>();

/**
 * The data of a path: fetched when the first component uses it, again when the window gets the focus, after a change
 * ({@link changed}), and with `pollMs` while the page is visible. Nothing is fetched when nobody uses it.
 *
 * @param path undefined: nothing is fetched
 * @param pollMs milliseconds between polls; undefined, or a function that returns undefined: none
 */
export function useQuery<T>(path: string | undefined, pollMs?: number | ((data: T) => number | undefined)): Known<T> {
  const entry = path === undefined ? undefined : entryOf(path);
  useEffect(() => {
    if (!entry) return;
    entry.users++;
    refetch(entry);
    return () => release(entry);
  }, [entry]);
  const known = (entry?.known.value ?? NOTHING) as Known<T>;
  const interval = typeof pollMs === 'function' ? (known.data === undefined ? undefined : pollMs(known.data)) : pollMs;
  useEffect(() => {
    if (!entry || interval === undefined) return;
    const timer = setInterval(() => document.visibilityState === 'visible' && refetch(entry), interval);
    return () => clearInterval(timer);
  }, [entry, interval]);
  return known;
}

/** {@link useQuery} for lists: while another page or filter is fetched, the former rows stay, so that nothing jumps. */
export function useListQuery<T>(path: string): Known<T> {
  const known = useQuery<T>(path);
  const former = useRef<T>(undefined);
  if (known.data !== undefined) former.current = known.data;
  if (known.data !== undefined || known.failure || former.current === undefined) return known;
  return { ...known, data: former.current };
}

const NOTHING: Known<never> = { isLoading: false };

function entryOf(path: string): Entry {
  const found = entries.get(path);
  if (found) return found;
  const entry: Entry = { path, known: signal<Known<unknown>>({ isLoading: true }), users: 0, isStale: true };
  entries.set(path, entry);
  for (const [name, { users }] of entries) {
    if (entries.size <= MAX_ENTRIES) break;
    if (users === 0 && name !== path) entries.delete(name);
  }
  return entry;
}

/** The last user aborts what is still under way. */
function release(entry: Entry): void {
  entry.users--;
  if (entry.users > 0) return;
  entry.fetching?.abort();
  entry.fetching = undefined;
  if (entry.isGone) entries.delete(entry.path);
}

/** Fetches again, unless that is under way. */
async function refetch(entry: Entry): Promise<void> {
  if (entry.fetching || entry.isGone) return;
  const controller = new AbortController();
  entry.fetching = controller;
  entry.isStale = false;
  entry.known.value = { ...entry.known.value, isLoading: true };
  try {
    const reply = await get(entry.path, entry.known.value.etag, controller.signal);
    const news = reply ? { data: reply.data, etag: reply.etag } : {};
    entry.known.value = { ...entry.known.value, ...news, at: Date.now(), failure: undefined, isLoading: false };
  } catch (error) {
    if (controller.signal.aborted) return;
    if (!(error instanceof Failure)) throw error;
    entry.known.value = { ...entry.known.value, isLoading: false, failure: error };
  } finally {
    if (entry.fetching === controller) entry.fetching = undefined;
  }
  if (entry.isStale && entry.users > 0) refetch(entry);
}

/** Fetches a path again that is in use. */
export function refresh(path: string): void {
  const entry = entries.get(path);
  if (entry && entry.users > 0) refetch(entry);
}

/**
 * After a change: what is known of paths that begin with one of these is stale. What is in use is fetched again, also if that is
 * under way, because that reply may be older than the change.
 */
export function changed(...prefixes: string[]): void {
  for (const [path, entry] of entries) {
    if (!prefixes.some((prefix) => path.startsWith(prefix))) continue;
    entry.isStale = true;
    if (entry.users > 0) refetch(entry);
    else entries.delete(path);
  }
}

/** After a deletion: its page shows what it had until it is left, and asks for nothing that is no longer there. */
export function gone(path: string): void {
  const entry = entries.get(path);
  if (!entry) return;
  entry.isGone = true;
  if (entry.users === 0) entries.delete(path);
}

/** Another operator must not see what the former one saw. */
export function forgetEverything(): void {
  for (const [path, entry] of entries) {
    entry.fetching?.abort();
    entry.fetching = undefined;
    entry.known.value = { isLoading: true };
    if (entry.users === 0) entries.delete(path);
  }
}

/** Fetches everything again that is in use. */
export function refreshEverything(): void {
  for (const entry of entries.values()) if (entry.users > 0) refetch(entry);
}

addEventListener('focus', refreshEverything);
