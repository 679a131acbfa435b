import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';
import { dismiss, toasts } from './announce.ts';
import { NAVIGATION } from './routes.ts';
import { canWrite, settings, signOut, state } from './session.ts';
import { setTheme, THEMES, type Theme, theme } from './theme.ts';
import { Badge } from './ui/badge.tsx';
import { PaletteKey } from './ui/palette-key.tsx';
import { ExpiredDialog } from './ui/sign-in-form.tsx';

/** Everything around a page: navigation, who is signed in, the theme, and the place where results are said. */
export function Layout({ children }: { children: ComponentChildren }) {
  return (
    <>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <div class="frame">
        <Side />
        <main id="content" tabIndex={-1}>
          {children}
        </main>
      </div>
      <Toasts />
      {state.value.name === 'signed-in' && state.value.hasExpired && <ExpiredDialog />}
    </>
  );
}

function Side() {
  const { path } = useLocation();
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a narrow screen the links scroll sideways.
    const here = nav.current?.querySelector<HTMLElement>('[aria-current]');
    if (!nav.current || !here) return;
    const [box, link] = [nav.current.getBoundingClientRect(), here.getBoundingClientRect()];
    nav.current.scrollLeft += link.left - box.left - (box.width - link.width) / 2;
  }, [path]);
  return (
    <header class="side">
      <a class="brand" href="/">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="7" />
          <path d="M7 18h18l-3 6H10zM15 6h2v10h-2zM17 7l6 7h-6z" />
        </svg>
        Berth
      </a>
      <PaletteKey />
      <nav aria-label="Main" ref={nav}>
        <ul>
          {NAVIGATION.map(([href, label]) => {
            const isHere = href === '/' ? path === '/' : path === href || path.startsWith(`${href}/`);
            return (
              <li key={href}>
                <a href={href} aria-current={isHere ? 'page' : undefined}>
                  {label}
                </a>
              </li>
            );
          })}
        </ul>
      </nav>
      <div class="side-foot">
        <ThemeChoice />
        <Who />
      </div>
    </header>
  );
}

function ThemeChoice() {
  return (
    <label class="theme">
      <span class="theme-label">Theme</span>
      <select value={theme.value} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}

function Who() {
  if (state.value.name !== 'signed-in') return null;
  const { auth, localToken, stage } = settings.value;
  return (
    <div class="who">
      <span class="who-name" title={`Signed in as ${state.value.session.actor}`}>
        <bdi>{state.value.session.actor}</bdi>
        {stage && <span class="muted"> · {stage}</span>}
      </span>
      {!canWrite.value && <Badge tone="info">read only</Badge>}
      {auth.kind !== 'gateway' && !localToken && (
        <button type="button" class="button quiet" onClick={signOut}>
          Sign out
        </button>
      )}
    </div>
  );
}

/** Results. The region exists from the beginning, because screen readers do not announce one that appears with its text. */
function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, text }) => (
        <div key={id} class="toast">
          <span dir="auto">{text}</span>
          <button type="button" class="button quiet" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  );
}
