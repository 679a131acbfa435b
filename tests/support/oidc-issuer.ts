import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { serve } from './serve.ts';

/** What one sign-in at the issuer asked for. */
type Grant = { clientId: string; redirectUri: string; scope: string; nonce: string; challenge: string };

export type Issuer = {
  /** The `iss` of its tokens. */
  url: string;
  /** Signs an access token. `aud` and `sub` are set; a claim replaces them, undefined removes them. */
  sign(claims: JWTPayload): Promise<string>;
  /** What it was asked, in order: `GET /authorize`, `POST /token authorization_code`. */
  requests: string[];
  /** Changes its next answers: the query of the redirect, the claims of the ID token, the claims of the access token. */
  next: { redirect?: Record<string, string>; idToken?: JWTPayload; accessToken?: JWTPayload };
  close(): Promise<void>;
};

/**
 * An OpenID Connect provider on a free port: discovery, keys, the code flow with PKCE for a public client. It signs everybody
 * in without asking, and checks what a provider must check.
 *
 * @param audience of the access tokens
 */
export async function startOidcIssuer({ clientId = 'panel', audience = 'berth' } = {}): Promise<Issuer> {
  const keys = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k', alg: 'ES256', use: 'sig' };
  const grants = new Map<string, Grant>();
  const requests: string[] = [];
  const signed = (claims: JWTPayload) => {
    const now = Math.floor(Date.now() / 1000);
    const all = { iss: url, sub: 'operator-7', iat: now, exp: now + 600, ...claims };
    return new SignJWT(all).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(keys.privateKey);
  };

  const authorize = (query: URLSearchParams): { location: string } | { error: string } => {
    const value = (name: string) => query.get(name) ?? '';
    if (value('client_id') !== clientId) return { error: 'unknown client' };
    if (value('response_type') !== 'code' || value('code_challenge_method') !== 'S256')
      return { error: 'no code flow' };
    if (!value('state') || !value('nonce') || !value('scope').split(' ').includes('openid'))
      return { error: 'incomplete' };
    const code = randomUUID();
    grants.set(code, {
      ...{ clientId, redirectUri: value('redirect_uri'), scope: value('scope') },
      ...{ nonce: value('nonce'), challenge: value('code_challenge') },
    });
    const to = new URL(value('redirect_uri'));
    const reply = { code, state: value('state'), iss: url, ...issuer.next.redirect };
    for (const [name, one] of Object.entries(reply)) to.searchParams.set(name, one);
    return { location: to.href };
  };

  const exchange = async (form: URLSearchParams): Promise<object | undefined> => {
    const grant = grants.get(form.get('code') ?? '');
    grants.delete(form.get('code') ?? '');
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const isValid =
      grant?.challenge === challenge &&
      grant.redirectUri === form.get('redirect_uri') &&
      grant.clientId === form.get('client_id');
    if (!grant || !isValid) return undefined;
    const { nonce, scope } = grant;
    return {
      access_token: await signed({ aud: audience, scope, ...issuer.next.accessToken }),
      id_token: await signed({ aud: clientId, nonce, ...issuer.next.idToken }),
      token_type: 'Bearer',
      expires_in: 600,
      scope,
    };
  };

  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', url);
    // The panel is of another origin.
    response.setHeader('access-control-allow-origin', '*');
    const json = (status: number, body: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (pathname === '/.well-known/openid-configuration') {
      return json(200, {
        issuer: url,
        ...{ authorization_endpoint: `${url}/authorize`, token_endpoint: `${url}/token`, jwks_uri: `${url}/keys` },
        ...{ response_types_supported: ['code'], subject_types_supported: ['public'] },
        ...{ id_token_signing_alg_values_supported: ['ES256'], code_challenge_methods_supported: ['S256'] },
        authorization_response_iss_parameter_supported: true,
      });
    }
    if (pathname === '/keys' || pathname === '/.well-known/jwks.json') return json(200, { keys: [jwk] });
    if (pathname === '/authorize') {
      requests.push('GET /authorize');
      const answer = authorize(searchParams);
      if ('error' in answer) return json(400, answer);
      return response.writeHead(302, { location: answer.location }).end();
    }
    if (pathname === '/token' && request.method === 'POST') {
      const form = new URLSearchParams(await textOf(request));
      requests.push(`POST /token ${form.get('grant_type')}`);
      const tokens = await exchange(form);
      return tokens ? json(200, tokens) : json(400, { error: 'invalid_grant' });
    }
    return json(404, { error: 'not found' });
  });
  const { port, close } = await serve(server);
  const url = `http://127.0.0.1:${port}`;
  const issuer: Issuer = { url, sign: (claims) => signed({ aud: audience, ...claims }), requests, next: {}, close };
  return issuer;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
