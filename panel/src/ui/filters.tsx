import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { withQuery } from '../url-state.ts';

/** What a new filter makes meaningless: the place in the list. */
const PLACES = { after: undefined, before: undefined, trail: undefined };
const TYPING_MS = 250;

/** Filters of a list. Each is a member of the URL's query, so a filtered list can be shared, and Back works. */
export function Filters({ children }: { children: ComponentChildren }) {
  const { query, url, route } = useLocation();
  const isFiltered = Object.keys(query).some((name) => !(name in PLACES));
  return (
    <search class="filters">
      {children}
      {isFiltered && (
        <button type="button" class="button quiet" onClick={() => route(url.split('?')[0] as string)}>
          Clear
        </button>
      )}
    </search>
  );
}

function useFilter(name: string): [value: string, set: (value: string, replace?: boolean) => void] {
  const { query, route } = useLocation();
  const set = (value: string, replace = false) =>
    // Read when it is set, because another filter may have changed the URL since.
    route(withQuery(location.pathname + location.search, { ...PLACES, [name]: value }), replace);
  return [query[name] ?? '', set];
}

/** Text, used as it is typed. Its first step is an entry of the history, and the others replace it. */
export function TextFilter({
  name,
  label,
  placeholder,
  maxLength = 255,
}: {
  name: string;
  label: string;
  placeholder?: string;
  maxLength?: number;
}) {
  const id = useId();
  const [value, set] = useFilter(name);
  const [typed, setTyped] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    // What is being typed is newer than what the URL has.
    if (timer.current === undefined) setTyped(value);
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const type = (text: string) => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      timer.current = undefined;
      set(text, value !== '');
    }, TYPING_MS);
  };
  return (
    <div class="filter">
      <label for={id}>{label}</label>
      <input
        {...{ id, placeholder, maxLength }}
        type="search"
        dir="auto"
        autocomplete="off"
        value={typed}
        onInput={(event) => type(event.currentTarget.value)}
      />
    </div>
  );
}

/** One of several values; the empty one is no filter. */
export function SelectFilter({
  name,
  label,
  options,
}: {
  name: string;
  label: string;
  options: [value: string, text: string][];
}) {
  const id = useId();
  const [value, set] = useFilter(name);
  return (
    <div class="filter">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => set(event.currentTarget.value)}>
        {options.map(([one, text]) => (
          <option key={one} value={one}>
            {text}
          </option>
        ))}
        {!options.some(([one]) => one === value) && <option value={value}>{value}</option>}
      </select>
    </div>
  );
}

/** `true`, or no filter. */
export function ToggleFilter({ name, label }: { name: string; label: string }) {
  const [value, set] = useFilter(name);
  return (
    <label class="filter toggle">
      <input
        type="checkbox"
        checked={value === 'true'}
        onChange={(event) => set(event.currentTarget.checked ? 'true' : '')}
      />
      {label}
    </label>
  );
}
