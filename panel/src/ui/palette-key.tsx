import { useEffect, useRef, useState } from 'preact/hooks';
import type PaletteType from './palette.tsx';

const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);
const load = () => import('./palette.tsx');

/** The button of the palette, which Ctrl K or ⌘ K also opens. Its code is loaded when the page has nothing else to do. */
export function PaletteKey() {
  const [Palette, setPalette] = useState<typeof PaletteType>();
  const [isOpen, setOpen] = useState(false);
  // What is typed before the code is there.
  const early = useRef<string>(undefined);
  const open = () => {
    early.current = '';
    setOpen(true);
    load().then(
      (module) => setPalette(() => module.default),
      () => setOpen(false),
    );
  };
  useEffect(() => {
    // Safari has no requestIdleCallback.
    const timer = setTimeout(() => load().catch(() => {}), 1_000);
    const press = (event: KeyboardEvent) => {
      if (isShortcut(event)) {
        // The browser's own: Chrome and Firefox search the web.
        event.preventDefault();
        // Not over another dialog, whose form would be covered.
        if (!document.querySelector('dialog[open]')) open();
      } else if (early.current !== undefined && event.key.length === 1) {
        event.preventDefault();
        early.current += event.key;
      }
    };
    addEventListener('keydown', press);
    return () => {
      clearTimeout(timer);
      removeEventListener('keydown', press);
    };
  }, []);
  return (
    <>
      <button
        type="button"
        class="button palette-key"
        onClick={open}
        aria-keyshortcuts={isMac ? 'Meta+K' : 'Control+K'}
      >
        Find
        <kbd>{isMac ? '⌘ K' : 'Ctrl K'}</kbd>
      </button>
      {isOpen && Palette && <Palette takeEarly={() => takeFrom(early)} onClose={() => setOpen(false)} />}
    </>
  );
}

function isShortcut({ key, metaKey, ctrlKey, altKey, shiftKey }: KeyboardEvent): boolean {
  return key.toLowerCase() === 'k' && (isMac ? metaKey : ctrlKey) && !altKey && !shiftKey;
}

function takeFrom(early: { current: string | undefined }): string {
  const text = early.current ?? '';
  early.current = undefined;
  return text;
}
