import { render } from 'preact';
import { App } from './app.tsx';
import { preloadPage } from './routes.ts';
import { startSession } from './session.ts';

// Before the session is known: both are fetched simultaneously.
preloadPage(location.pathname);
startSession();
render(<App />, document.getElementById('app') as HTMLElement);

// Before the click or Enter that opens it.
for (const type of ['pointerover', 'focusin']) {
  addEventListener(type, ({ target }) => {
    const link = target instanceof Element ? target.closest<HTMLAnchorElement>('a[href^="/"]') : null;
    if (link) preloadPage(link.pathname);
  });
}
