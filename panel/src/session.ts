import { computed, signal } from '@preact/signals';
import { get, setCredential, whenUnauthorised } from './api/client.ts';
import { Failure } from './api/failure.ts';
import { forgetEverything } from './data/query.ts';

/** `GET /panel-settings.json`. */
export type PanelSettings = {
  stage: string;
  auth: { kind: 'token' | 'oidc' | 'gateway'; issuer?: string; clientId?: string; scopes?: string };
  /** Only on the local stack. */
  localToken?: string;
};
/** `GET /api/v1/session`. */
export type Session = { actor: string; scopes: ('read' | 'write')[] };

type State =
  | { name: 'starting' }
  | { name: 'signed-out' }
  /** `hasExpired`: the credential was refused since. The page stays as it is, under a dialog. */
  | { name: 'signed-in'; session: Session; hasExpired: boolean }
  | { name: 'failed'; failure: Failure };

/** Of this tab only: closing it signs out. */
const KEY = 'berth-token';

export const settings = signal<PanelSettings>({ stage: '', auth: { kind: 'token' } });
export const state = signal<State>({ name: 'starting' });
/** Whether buttons that change something are shown. */
export const canWrite = computed(
  () => state.value.name === 'signed-in' && state.value.session.scopes.includes('write'),
);

/** Reads the settings, and signs in with what is there: the token of this tab, of the local stack, or the gateway's. */
export async function startSession(): Promise<void> {
  whenUnauthorised(expire);
  try {
    const reply = await get<PanelSettings>('/panel-settings.json');
    if (reply) settings.value = reply.data;
    const { auth, localToken } = settings.value;
    const token = sessionStorage.getItem(KEY) ?? localToken;
    if (token !== undefined || auth.kind === 'gateway') await open(token);
    else state.value = { name: 'signed-out' };
  } catch (failure) {
    state.value = startFailed(failure);
  }
}

function startFailed(failure: unknown): State {
  if (!(failure instanceof Failure)) throw failure;
  sessionStorage.removeItem(KEY);
  return failure.status === 401 ? { name: 'signed-out' } : { name: 'failed', failure };
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
}

export function signOut(): void {
  sessionStorage.removeItem(KEY);
  setCredential(undefined);
  state.value = { name: 'signed-out' };
  forgetEverything();
}

function expire(): void {
  if (state.value.name === 'signed-in') state.value = { ...state.value, hasExpired: true };
}
