import { computed, signal } from '@preact/signals';
import { get, setCredential, whenUnauthorised } from './api/client.ts';
import { Failure } from './api/failure.ts';
import { forgetEverything, refreshEverything } from './data/query.ts';
import type { Oidc } from './oidc.ts';

/** `GET /panel-settings.json`. */
export type PanelSettings = {
  stage: string;
  auth: { kind: 'token' | 'gateway' } | ({ kind: 'oidc' } & Oidc);
  /** Only on the local stack. */
  localToken?: string;
};
/** `GET /api/v1/session`. */
export type Session = { actor: string; scopes: ('read' | 'write')[] };

type State =
  | { name: 'starting' }
  /** `failure`: why signing in at the issuer failed. */
  | { name: 'signed-out'; failure?: Failure }
  /** `hasExpired`: the credential was refused since. The page stays as it is, under a dialog. */
  | { name: 'signed-in'; session: Session; hasExpired: boolean }
  | { name: 'failed'; failure: Failure };

/** A tab that is opened only to sign in again, for the tab whose credential has expired: where it begins, and where it ends. */
const AGAIN = '/sign-in?again';
const DONE = '/sign-in?done';
const CHANNEL = 'berth-sign-in';
/** Of this tab only: closing it signs out. */
const KEY = 'berth-token';

export const settings = signal<PanelSettings>({ stage: '', auth: { kind: 'token' } });
export const state = signal<State>({ name: 'starting' });
/** Whether buttons that change something are shown. */
export const canWrite = computed(
  () => state.value.name === 'signed-in' && state.value.session.scopes.includes('write'),
);

/**
 * Reads the settings, and signs in with what is there: the issuer's reply in the address, the token of this tab, of the local
 * stack, or the gateway's.
 */
export async function startSession(): Promise<void> {
  whenUnauthorised(expire);
  // Its code must not stay in the address, where history and extensions see it.
  const answer = answeredAddress();
  try {
    const reply = await get<PanelSettings>('/panel-settings.json');
    if (reply) settings.value = reply.data;
    const { auth, localToken } = settings.value;
    if (answer && auth.kind === 'oidc') return await finish(auth, answer);
    if (auth.kind === 'oidc' && location.pathname + location.search === AGAIN) return await begin(auth);
    const kept = sessionStorage.getItem(KEY) ?? undefined;
    if (kept !== undefined && localToken !== undefined) await open(kept).catch(() => open(localToken));
    else if (kept !== undefined || localToken !== undefined || auth.kind === 'gateway') await open(kept ?? localToken);
    else state.value = { name: 'signed-out' };
  } catch (failure) {
    state.value = startFailed(failure);
  }
}

function startFailed(failure: unknown): State {
  if (!(failure instanceof Failure)) throw failure;
  if (failure.status !== 401) return { name: 'failed', failure };
  sessionStorage.removeItem(KEY);
  return { name: 'signed-out' };
}

/**
 * Signs in with a token, which is kept until the tab is closed.
 * @throws Failure, and stays signed out
 */
export async function signIn(token: string): Promise<void> {
  await open(token);
  sessionStorage.setItem(KEY, token);
}

async function open(token: string | undefined): Promise<void> {
  setCredential(token);
  const reply = await get<Session>('/api/v1/session');
  const session = reply?.data ?? { actor: '', scopes: [] };
  const before = state.value.name === 'signed-in' ? state.value.session.actor : session.actor;
  state.value = { name: 'signed-in', session, hasExpired: false };
  if (before !== session.actor) forgetEverything();
  // After an expired credential, the page shows failures.
  refreshEverything();
}

/**
 * Leaves the panel for the page of the issuer, which leads back to this address.
 * @throws Failure
 */
export async function signInAt(oidc: Oidc): Promise<void> {
  const { beginSignIn } = await import('./oidc.ts');
  const here = location.pathname + location.search;
  const returnTo = here === AGAIN ? DONE : location.pathname === '/sign-in' ? '/' : here;
  location.assign(await beginSignIn(oidc, location.origin, returnTo, sessionStorage));
}

/** The address with the issuer's reply, which it then no longer contains. Runs before the page is rendered. */
function answeredAddress(): URL | undefined {
  const address = new URL(location.href);
  const { pathname, searchParams } = address;
  if (pathname !== '/sign-in' || !(searchParams.has('code') || searchParams.has('error'))) return undefined;
  history.replaceState(null, '', pathname);
  return address;
}

/** Signs in at the issuer in another tab, so that this page stays as it is. It gets the token from there. */
export function signInInNewTab(): void {
  window.open(AGAIN, '_blank', 'noopener');
}

/** Calls the listener with the token of a tab that {@link signInInNewTab} has opened. @returns stops it */
export function whenSignedInElsewhere(listener: (token: string) => void): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => listener(String(data));
  return () => channel.close();
}

async function begin(oidc: Oidc): Promise<void> {
  try {
    await signInAt(oidc);
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    state.value = { name: 'signed-out', failure };
  }
}

async function finish(oidc: Oidc, address: URL): Promise<void> {
  const { finishSignIn, returnToOf } = await import('./oidc.ts');
  const returnTo = returnToOf(sessionStorage) ?? location.pathname;
  history.replaceState(null, '', returnTo);
  // At this event, the router reads the address.
  dispatchEvent(new PopStateEvent('popstate'));
  try {
    const token = await finishSignIn(oidc, address, sessionStorage);
    await signIn(token);
    // Only tabs of the panel can listen, and only those that wait for it do.
    if (returnTo === DONE) new BroadcastChannel(CHANNEL).postMessage(token);
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    state.value = { name: 'signed-out', failure };
  }
}

export function signOut(): void {
  sessionStorage.removeItem(KEY);
  setCredential(undefined);
  state.value = { name: 'signed-out' };
  forgetEverything();
}

/** Closes the dialog about the expired credential; the next refusal opens it again. */
export function dismissExpiry(): void {
  if (state.value.name === 'signed-in') state.value = { ...state.value, hasExpired: false };
}

function expire(): void {
  if (state.value.name === 'signed-in') state.value = { ...state.value, hasExpired: true };
}
