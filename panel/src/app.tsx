import { Component, type ComponentChildren } from 'preact';
import { LocationProvider, Route, Router, useLocation } from 'preact-iso/router';
import { Layout } from './layout.tsx';
import NotFound from './pages/not-found.tsx';
import SignIn from './pages/sign-in.tsx';
import { ROUTES } from './routes.ts';
import { startSession, state } from './session.ts';
import { Problem } from './ui/problem.tsx';

/** Links to these are not pages of the panel. */
const PAGES = /^\/(?!api\/|assets\/)/;

export function App() {
  return (
    <Catch>
      <LocationProvider scope={PAGES}>
        <Content />
      </LocationProvider>
    </Catch>
  );
}

function Content() {
  const session = state.value;
  const { path } = useLocation();
  switch (session.name) {
    case 'starting':
      return null;
    case 'signed-out':
      return <SignIn />;
    case 'failed':
      return (
        <main class="alone">
          <h1>Berth</h1>
          <Problem failure={session.failure} onRetry={startSession} />
        </main>
      );
    case 'signed-in':
      return (
        <Layout>
          {isEncoded(path) ? (
            <Router>
              {ROUTES.map(([path, page]) => (
                <Route key={path} path={path} component={page} />
              ))}
              <Route path="/sign-in" component={SignedIn} />
              <Route default component={NotFound} />
            </Router>
          ) : (
            <NotFound />
          )}
        </Layout>
      );
  }
}

/** The router fails on a path that is not encoded, such as `/devices/%E0`. */
function isEncoded(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

/** Who is signed in already has nothing to do at `/sign-in`. */
function SignedIn() {
  return <p>You are signed in. If another tab has asked for it, you can close this one.</p>;
}

/** A mistake in a page must not leave an empty window. */
class Catch extends Component<{ children: ComponentChildren }, { error?: Error }> {
  override state: { error?: Error } = {};

  override componentDidCatch(error: Error) {
    console.error(error);
    this.setState({ error });
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <main class="alone">
        <div class="problem" role="alert">
          <p class="problem-title">The panel has failed</p>
          <p dir="auto">{error.message}</p>
          <p>Nothing was changed by this. Reload the page, and report it if it happens again.</p>
          <a class="button plain" href={location.href}>
            Reload
          </a>
        </div>
      </main>
    );
  }
}
