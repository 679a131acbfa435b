import * as oauth from 'oauth4webapi';
import { Failure } from './api/failure.ts';

/** Of panel-settings.json: a public client of an issuer. */
export type Oidc = { issuer: string; clientId: string; scopes: string };
/** sessionStorage, which the tab keeps while the issuer's page is shown. */
export type Store = {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
};
/** A sign-in that has begun: what the issuer's reply must fit, and where to go after it. */
type Pending = { state: string; nonce: string; verifier: string; returnTo: string };

const PENDING = 'berth-sign-in';
/** The redirect URI, to be registered at the issuer. */
const REDIRECT_PATH = '/sign-in';

/**
 * Begins the code flow with PKCE (RFC 7636, OpenID Connect Core 3.1).
 *
 * @param origin of the panel
 * @param returnTo path and query to show afterwards
 * @returns the address of the issuer's page
 * @throws Failure
 */
export async function beginSignIn(oidc: Oidc, origin: string, returnTo: string, store: Store): Promise<string> {
  const server = await explained(() => discover(oidc));
  const verifier = oauth.generateRandomCodeVerifier();
  const pending: Pending = {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier,
    returnTo,
  };
  if (!server.authorization_endpoint) throw failed('The issuer names no page for signing in.');
  const page = new URL(server.authorization_endpoint);
  const query = {
    ...{ client_id: oidc.clientId, redirect_uri: origin + REDIRECT_PATH, response_type: 'code', scope: oidc.scopes },
    ...{ state: pending.state, nonce: pending.nonce },
    ...{ code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' },
  };
  for (const [name, value] of Object.entries(query)) page.searchParams.set(name, value);
  store.setItem(PENDING, JSON.stringify(pending));
  return page.href;
}

/** Where to go after the sign-in that this tab has begun; undefined: it has begun none. */
export function returnToOf(store: Store): string | undefined {
  const text = store.getItem(PENDING);
  return text === null ? undefined : (JSON.parse(text) as Pending).returnTo;
}

/**
 * Exchanges the code in the address for an access token.
 *
 * @param address with the issuer's reply
 * @returns the token
 * @throws Failure also for a reply that this tab did not ask for
 */
export async function finishSignIn(oidc: Oidc, address: URL, store: Store): Promise<string> {
  const text = store.getItem(PENDING);
  if (!text) throw failed('This tab has not begun to sign in, or has already ended it.');
  // One attempt for each code.
  store.removeItem(PENDING);
  const { state, nonce, verifier }: Pending = JSON.parse(text);
  return explained(async () => {
    const server = await discover(oidc);
    const client = { client_id: oidc.clientId };
    const parameters = oauth.validateAuthResponse(server, client, address.searchParams, state);
    const response = await oauth.authorizationCodeGrantRequest(
      ...([
        server,
        client,
        oauth.None(),
        parameters,
        address.origin + REDIRECT_PATH,
        verifier,
        insecure(oidc),
      ] as const),
    );
    const { access_token } = await oauth.processAuthorizationCodeResponse(server, client, response, {
      expectedNonce: nonce,
      requireIdToken: true,
    });
    return access_token;
  });
}

async function discover(oidc: Oidc): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(oidc.issuer);
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure(oidc)));
}

/** An issuer on this machine, as in tests, needs no TLS. */
function insecure({ issuer }: Oidc): { [oauth.allowInsecureRequests]?: boolean } {
  return { [oauth.allowInsecureRequests]: /^http:\/\/(localhost|127\.0\.0\.1)(:\d+)?(\/|$)/.test(issuer) };
}

async function explained<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof oauth.AuthorizationResponseError || error instanceof oauth.ResponseBodyError) {
      throw failed(`The issuer says: ${error.error_description ?? error.error}.`);
    }
    // `fetch` says no more than this.
    if (error instanceof TypeError) throw failed('The issuer could not be reached. Sign in again in a moment.');
    throw failed(`The reply of the issuer cannot be used (${error instanceof Error ? error.message : error}).`);
  }
}

function failed(detail: string): Failure {
  return new Failure({ kind: 'problem', status: 0, code: 'sign-in-failed', title: 'Sign-in failed', detail });
}
