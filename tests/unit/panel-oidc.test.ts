import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { beginSignIn, finishSignIn, returnToOf } from '../../panel/src/oidc.ts';
import { call } from '../support/api.ts';
import { type Issuer, startOidcIssuer } from '../support/oidc-issuer.ts';

/** The panel's sign-in against a real OpenID Connect provider. The tests are the browser: storage, redirects. */
const ORIGIN = 'https://berth.example.com';
let issuer: Issuer;
let kept: Map<string, string>;
const store = {
  getItem: (key: string) => kept.get(key) ?? null,
  setItem: (key: string, value: string) => void kept.set(key, value),
  removeItem: (key: string) => void kept.delete(key),
};
const oidc = () => ({ issuer: issuer.url, clientId: 'panel', scopes: 'openid berth:read berth:write' });

beforeAll(async () => {
  issuer = await startOidcIssuer();
});
afterAll(() => issuer.close());
beforeEach(() => {
  kept = new Map();
  issuer.next = {};
  issuer.requests.length = 0;
});

const begin = () => beginSignIn(oidc(), ORIGIN, '/devices?behind=true', store);
/** Opens the issuer's page, and returns the address that it leads to. */
async function follow(page: string): Promise<URL> {
  const reply = await fetch(page, { redirect: 'manual' });
  expect(reply.status).toBe(302);
  return new URL(reply.headers.get('location') as string);
}
const finish = (address: URL) => finishSignIn(oidc(), address, store);

it('signs in: the token is one that the API accepts, and the tab returns to where it was', async () => {
  const address = await follow(await begin());
  expect(address.origin + address.pathname).toBe(`${ORIGIN}/sign-in`);
  expect(returnToOf(store)).toBe('/devices?behind=true');
  const token = await finish(address);
  expect([kept.size, returnToOf(store)]).toEqual([0, undefined]);
  Object.assign(process.env, { ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: issuer.url, ADMIN_JWT_AUDIENCE: 'berth' });
  reloadSettings();
  const session = await call('GET /api/v1/session', { headers: { authorization: `Bearer ${token}` } });
  expect(session).toMatchObject({ status: 200, body: { actor: 'admin:operator-7', scopes: ['read', 'write'] } });
});

it('puts no secret into an address: neither the verifier nor the token', async () => {
  const page = await begin();
  const { verifier } = JSON.parse([...kept.values()][0] as string);
  const address = await follow(page);
  const token = await finish(address);
  for (const url of [page, address.href]) {
    expect(url).not.toContain(verifier);
    expect(url).not.toContain(token);
  }
});

it('state, nonce and verifier differ for each sign-in', async () => {
  const parts = async () => {
    const { searchParams } = new URL(await begin());
    return ['state', 'nonce', 'code_challenge'].map((name) => searchParams.get(name));
  };
  const [first, second] = [await parts(), await parts()];
  expect(new Set([...first, ...second]).size).toBe(6);
});

describe('no token, and the code is not exchanged', () => {
  it('for an address that this tab did not ask for', async () => {
    const address = await follow(await begin());
    kept.clear();
    await expect(finish(address)).rejects.toMatchObject({ code: 'sign-in-failed', detail: /has not begun/ });
    expect(issuer.requests).toEqual(['GET /authorize']);
  });

  it.each([
    ['another state', { state: 'of-another-tab' }, /state/],
    ['another issuer', { iss: 'https://other.example.com' }, /iss/],
    [
      'a refusal',
      { error: 'access_denied', error_description: 'You are no operator' },
      /The issuer says: You are no operator\./,
    ],
  ])('for a reply with %s', async (_what, redirect, detail) => {
    issuer.next = { redirect };
    await expect(finish(await follow(await begin()))).rejects.toMatchObject({ title: 'Sign-in failed', detail });
    expect(issuer.requests).toEqual(['GET /authorize']);
  });
});

describe('no token', () => {
  it('for a code that is used a second time', async () => {
    const page = await begin();
    const kept2 = new Map(kept);
    const address = await follow(page);
    await finish(address);
    kept = kept2;
    await expect(finish(address)).rejects.toMatchObject({ detail: 'The issuer says: invalid_grant.' });
  });

  it('for the code of another sign-in: the verifier does not fit', async () => {
    const theirs = await follow(await begin());
    await begin();
    const ours = JSON.parse([...kept.values()][0] as string);
    theirs.searchParams.set('state', ours.state);
    await expect(finish(theirs)).rejects.toMatchObject({ detail: 'The issuer says: invalid_grant.' });
  });

  it.each([
    ['another nonce', { nonce: 'of-another-sign-in' }],
    ['no nonce', { nonce: undefined }],
    ['another audience', { aud: 'other-client' }],
    ['another issuer', { iss: 'https://other.example.com' }],
    ['a past expiry', { exp: 1_000_000 }],
  ])('for an ID token with %s', async (_what, idToken) => {
    issuer.next = { idToken: idToken as never };
    await expect(finish(await follow(await begin()))).rejects.toMatchObject({ code: 'sign-in-failed' });
  });
});

it('a failed sign-in can be repeated, and an issuer that cannot be reached is named as such', async () => {
  issuer.next = { redirect: { error: 'server_error' } };
  await expect(finish(await follow(await begin()))).rejects.toMatchObject({ detail: 'The issuer says: server_error.' });
  issuer.next = {};
  expect(await finish(await follow(await begin()))).toMatch(/^ey/);
  const gone = { ...oidc(), issuer: 'http://127.0.0.1:9' };
  await expect(beginSignIn(gone, ORIGIN, '/', store)).rejects.toMatchObject({ detail: /could not be reached/ });
});

it('an issuer elsewhere must use TLS', async () => {
  const plain = { ...oidc(), issuer: 'http://login.example.com' };
  await expect(beginSignIn(plain, ORIGIN, '/', store)).rejects.toMatchObject({ code: 'sign-in-failed' });
});
