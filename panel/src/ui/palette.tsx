import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { find, findPages, type Group, type Item, type Lists } from '../data/find.ts';
import { NAVIGATION } from '../routes.ts';
import { canWrite } from '../session.ts';
import { Name } from './name.tsx';

const TYPING_MS = 150;
const ACTIONS: [href: string, label: string][] = [
  ['/brokers/new', 'Add a broker'],
  ['/keys/new', 'Issue a provisioning key'],
  ['/jobs/new', 'Move many devices'],
];

type Found = { text: string; groups: Group[] };

type Props = {
  /** What was typed before this could be shown. */
  takeEarly: () => string;
  onClose: () => void;
};

/**
 * Opens a device, a broker, a key, a job or a page by its name, with the keyboard alone: the arrows choose, Enter opens, Escape
 * closes. The pattern is a combobox with a list (ARIA Authoring Practices).
 */
export default function Palette({ takeEarly, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const { route } = useLocation();
  const [typed, setTyped] = useState('');
  const [chosen, setChosen] = useState(0);
  const text = typed.trim();
  const { found, isSearching } = useFind(text);
  const pages = findPages(text, canWrite.value ? [...NAVIGATION, ...ACTIONS] : NAVIGATION);
  const groups = [...(text === '' ? [] : found.groups), ...(pages.items.length > 0 ? [pages] : [])];
  const items = groups.flatMap((group) => group.items);
  const current = Math.min(chosen, items.length - 1);

  // Before the next key is pressed.
  useLayoutEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    setTyped(takeEarly());
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  useEffect(
    () => document.getElementById(`${id}-${current}`)?.scrollIntoView({ block: 'nearest' }),
    [current, items.length],
  );

  const open = (item: Item | undefined) => {
    if (!item) return;
    onClose();
    route(item.href);
  };
  const press = (event: KeyboardEvent) => {
    const to = { ArrowDown: current + 1, ArrowUp: current - 1 }[event.key];
    if (to !== undefined && items.length > 0) setChosen((to + items.length) % items.length);
    else if (event.key !== 'Enter' || event.isComposing) return;
    event.preventDefault();
    if (event.key === 'Enter') open(items[current]);
  };
  return (
    <dialog ref={dialog} class="palette" aria-label="Find" onClose={onClose}>
      <input
        type="text"
        role="combobox"
        aria-label="Find a device, a broker, a key, a job or a page"
        aria-expanded="true"
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={items.length > 0 ? `${id}-${current}` : undefined}
        placeholder="Device uuid or name, broker, fleet, job number, page"
        autocomplete="off"
        spellcheck={false}
        maxLength={255}
        dir="auto"
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={press}
      />
      <div id={`${id}-list`} role="listbox" aria-label="Found" class="palette-list">
        {groups.map((group) => (
          <Options
            key={group.title}
            group={group}
            id={id}
            first={items.indexOf(group.items[0] as Item)}
            current={current}
            onOpen={open}
          />
        ))}
      </div>
      <p class="palette-foot muted" role="status">
        {statusOf(text, items.length, isSearching)}
      </p>
    </dialog>
  );
}

function statusOf(text: string, count: number, isSearching: boolean): string {
  if (isSearching) return 'Searching …';
  if (count === 0) return `Nothing begins with or contains “${text}”.`;
  return `${count} found. ↑ ↓ choose, Enter opens, Escape closes.`;
}

type OptionsProps = { group: Group; id: string; first: number; current: number; onOpen: (item: Item) => void };

function Options({ group: { title, items, failure }, id, first, current, onOpen }: OptionsProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a listbox has groups, not field sets
    <div role="group" aria-label={title}>
      <p class="palette-title" aria-hidden="true">
        {title}
      </p>
      {failure && <p class="palette-failure">{`${failure.title}: ${failure.detail}`}</p>}
      {items.map((item, index) => (
        // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the field (aria-activedescendant)
        // biome-ignore lint/a11y/useKeyWithClickEvents: the field handles the keys
        <div
          key={item.href}
          id={`${id}-${first + index}`}
          role="option"
          aria-selected={first + index === current}
          class="palette-option"
          onClick={() => onOpen(item)}
        >
          <Name text={item.text} />
          <span class="muted palette-detail">{item.detail}</span>
        </div>
      ))}
    </div>
  );
}

/** Searches when nobody types any more. What was found stays until there is news. */
function useFind(text: string): { found: Found; isSearching: boolean } {
  const [found, setFound] = useState<Found>({ text: '', groups: [] });
  const lists = useRef<Lists>({});
  useEffect(() => {
    if (text === '') return;
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      try {
        setFound({ text, groups: await find(text, lists.current, controller.signal) });
      } catch (error) {
        if (!controller.signal.aborted) throw error;
      }
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [text]);
  return { found, isSearching: text !== '' && found.text !== text };
}
