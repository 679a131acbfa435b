import { render } from 'preact';
import { App } from './app.tsx';
import { startSession } from './session.ts';

startSession();
render(<App />, document.getElementById('app') as HTMLElement);
