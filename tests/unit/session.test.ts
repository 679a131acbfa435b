import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../lib/crypto/hash.ts';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { type Call, call, loadAll } from '../support/api.ts';
import { type Issuer, startOidcIssuer } from '../support/oidc-issuer.ts';

let issuer: Issuer;
beforeAll(async () => {
  issuer = await startOidcIssuer();
  await loadAll();
}, 60_000);
afterAll(() => issuer.close());

function setEnv(env: Record<string, string>): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('ADMIN_')) delete process.env[name];
  Object.assign(process.env, env);
  reloadSettings();
}

const bearer = (token: string): Call => ({ headers: { authorization: `Bearer ${token}` } });
const session = (options: Call) => call('GET /api/v1/session', options);
const ALL = ['read', 'write'];

describe('GET /api/v1/session: the actor, and all that the credential may do', () => {
  it.each([
    ['token', { actor: 'admin', scopes: ALL }],
    ['read-token', { actor: 'admin-read', scopes: ['read'] }],
  ])('ADMIN_AUTH=token, the %s', async (token, expected) => {
    setEnv({
      ...{ ADMIN_AUTH: 'token', ADMIN_TOKEN_HASH: sha256Hex('token') },
      ADMIN_READ_TOKEN_HASH: sha256Hex('read-token'),
    });
    expect(await session(bearer(token))).toMatchObject({ status: 200, body: expected });
    expect(await session(bearer('another'))).toMatchObject({ status: 401 });
  });

  it.each([
    ['scope', { scope: 'openid berth:read' }, ['read']],
    ['scope, and writing includes reading', { scope: 'berth:write' }, ALL],
    ['scp, a list', { scp: ['berth:read', 'berth:write'] }, ALL],
    ['permissions', { permissions: ['berth:read'] }, ['read']],
  ])('ADMIN_AUTH=jwt, the claim %s', async (_claim, claims, scopes) => {
    setEnv({ ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: issuer.url, ADMIN_JWT_AUDIENCE: 'berth' });
    const reply = await session(bearer(await issuer.sign(claims)));
    expect(reply).toMatchObject({ status: 200, body: { actor: 'admin:operator-7', scopes } });
  });

  it('ADMIN_AUTH=jwt with access tokens as Cognito makes them: client_id, groups', async () => {
    const claims = {
      aud: undefined,
      client_id: 'app-client',
      scope: 'openid',
      'cognito:groups': ['line-1', 'operators'],
    };
    const token = await issuer.sign(claims as never);
    const jwt = { ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: issuer.url, ADMIN_JWT_AUDIENCE: 'app-client' };
    const groups = {
      ADMIN_JWT_SCOPE_CLAIM: 'cognito:groups',
      ADMIN_JWT_READ_SCOPE: 'line-1',
      ADMIN_JWT_WRITE_SCOPE: 'admins',
    };
    setEnv({ ...jwt, ...groups, ADMIN_JWT_AUDIENCE_CLAIM: 'client_id' });
    expect(await session(bearer(token))).toMatchObject({ status: 200, body: { scopes: ['read'] } });
    setEnv({ ...jwt, ...groups, ADMIN_JWT_AUDIENCE_CLAIM: 'client_id', ADMIN_JWT_WRITE_SCOPE: 'operators' });
    expect(await session(bearer(token))).toMatchObject({ status: 200, body: { scopes: ALL } });
    // The claim that is named is the only one.
    const scoped = await issuer.sign({ client_id: 'app-client', scope: 'line-1 operators' });
    expect(await session(bearer(scoped))).toMatchObject({ status: 403 });
  });

  it.each([
    ['of another client', { aud: undefined, client_id: 'other' }],
    ['without the claim', { aud: undefined }],
    ['with the audience in aud', { aud: 'app-client' }],
    ['with a list', { client_id: ['app-client'] }],
  ])('401 with ADMIN_JWT_AUDIENCE_CLAIM for a token %s', async (_what, claims) => {
    const jwt = { ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: issuer.url, ADMIN_JWT_AUDIENCE: 'app-client' };
    setEnv({ ...jwt, ADMIN_JWT_AUDIENCE_CLAIM: 'client_id' });
    const token = await issuer.sign({ scope: 'berth:write', ...claims } as never);
    expect(await session(bearer(token))).toMatchObject({ status: 401, body: { code: 'invalid-admin-credential' } });
  });

  it.each([
    ['a text', { sub: 'operator-7', scope: 'openid berth:read' }, ['read']],
    ['a list, as the gateway writes it', { sub: 'operator-7', scp: '[berth:read berth:write]' }, ALL],
    ['neither', { sub: 'operator-7', scope: 'openid' }, []],
  ])('behind a gateway that verified a JWT, its claims: %s', async (_what, claims, scopes) => {
    setEnv({ ADMIN_AUTH: 'none' });
    const reply = await session({ authorizer: { jwt: { claims, scopes: null } } });
    expect(reply).toMatchObject({ status: 200, body: { actor: 'admin:operator-7', scopes } });
  });

  it('behind a gateway, the names of the issuer: those of ADMIN_JWT_READ_SCOPE and ADMIN_JWT_WRITE_SCOPE', async () => {
    setEnv({ ADMIN_AUTH: 'none', ADMIN_JWT_READ_SCOPE: 'berth/read', ADMIN_JWT_WRITE_SCOPE: 'berth/write' });
    const reply = await session({ authorizer: { jwt: { claims: { sub: 'operator-7', scope: 'berth/write' } } } });
    expect(reply.body).toEqual({ actor: 'admin:operator-7', scopes: ALL });
  });

  it('behind a gateway with another authorizer or none: everything, because the gateway has let it in', async () => {
    setEnv({ ADMIN_AUTH: 'none' });
    expect((await session({ authorizer: { lambda: {} } })).body).toEqual({ actor: 'admin', scopes: ALL });
    expect((await session({})).body).toEqual({ actor: 'admin', scopes: ALL });
  });

  it('403 admin-disabled without ADMIN_AUTH', async () => {
    setEnv({});
    expect(await session({})).toMatchObject({ status: 403, body: { code: 'admin-disabled' } });
  });
});
