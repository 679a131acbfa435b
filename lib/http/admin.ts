import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import type { Actor } from '../context.ts';
import {
  adminDisabled,
  insufficientScope,
  invalidAdminCredential,
  issuerUnavailable,
  Problem,
  unauthorized,
} from '../errors.ts';
import { SettingsError, settings } from '../settings/settings.ts';
import { type Auth, credentialOf, isHashedIn, type Scope } from './auth.ts';

/** For routes that operators call. Apart from auth.ts, so that the bundles of device routes do not contain it. */
export const admin: Auth = {
  name: 'admin',
  problems: [unauthorized, invalidAdminCredential, adminDisabled, insufficientScope, issuerUnavailable],
  authorise: authoriseAdmin,
};

/**
 * Authorises an operator. Closed by default: without ADMIN_AUTH every request is refused.
 *
 * @returns the actor
 * @throws Problem `admin-disabled`, `unauthorized`, `invalid-admin-credential`, `insufficient-scope`
 */
async function authoriseAdmin(event: APIGatewayProxyEventV2, scope: Scope): Promise<Actor> {
  const { adminAuth } = settings();
  if (!adminAuth) throw new Problem(adminDisabled);
  if (adminAuth === 'none') return gatewaysAdmin(event);
  const token = credentialOf(event);
  if (!token) throw new Problem(unauthorized, 'Send the admin credential as `Authorization: Bearer TOKEN`.');
  const { actor, scopes } = adminAuth === 'jwt' ? await verifyJwt(token) : verifyToken(token);
  if (!scopes.includes('write') && !(scope === 'read' && scopes.includes('read'))) {
    throw new Problem(insufficientScope);
  }
  return actor;
}

/** The subject that the gateway's JWT authorizer verified; `admin` when it has another authorizer or none. */
function gatewaysAdmin({ requestContext }: APIGatewayProxyEventV2): Actor {
  const { authorizer } = requestContext as { authorizer?: { jwt?: { claims?: { sub?: unknown } } } };
  const sub = authorizer?.jwt?.claims?.sub;
  return sub ? `admin:${sub}` : 'admin';
}

type Admin = { actor: Actor; scopes: Scope[] };

function verifyToken(token: string): Admin {
  const { adminTokenHashes, adminReadTokenHashes } = settings();
  const writes = isHashedIn(adminTokenHashes, token);
  const reads = isHashedIn(adminReadTokenHashes, token);
  if (!writes && !reads) throw new Problem(invalidAdminCredential);
  return writes ? { actor: 'admin', scopes: ['write'] } : { actor: 'admin-read', scopes: ['read'] };
}

/** Verifies an access token (RFC 9068): signature, issuer, audience and times. */
async function verifyJwt(token: string): Promise<Admin> {
  const { issuer, audience, jwksUrl } = jwtSettings();
  const names = settings().adminJwt.scopes;
  const { createRemoteJWKSet, jwtVerify, errors } = await import('jose');
  if (keys?.url !== jwksUrl) {
    keys = { url: jwksUrl, find: createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 2_000 }) };
  }
  // Asymmetric algorithms only: neither `none` nor a shared secret.
  const algorithms = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');
  try {
    const { payload } = await jwtVerify(token, keys.find, { issuer, audience, algorithms, requiredClaims: ['exp'] });
    const granted = [payload.scope, payload.scp, payload.permissions].flat().join(' ').split(' ');
    return {
      actor: `admin:${payload.sub ?? 'unknown'}`,
      scopes: (['read', 'write'] as const).filter((scope) => granted.includes(names[scope])),
    };
  } catch (cause) {
    if (cause instanceof errors.JWTExpired) {
      throw new Problem(invalidAdminCredential, 'The access token has expired. Request a new one.', { cause });
    }
    // No keys: unreachable, too slow, another status than 200, not JSON (the plain JOSEError), not a key set, or an empty one.
    const hasNoKeys =
      !(cause instanceof errors.JOSEError) ||
      [errors.JWKSTimeout.code, errors.JWKSInvalid.code, errors.JOSEError.code].includes(cause.code) ||
      (cause instanceof errors.JWKSNoMatchingKey && isEmpty(keys.find));
    // The next request fetches them again.
    if (hasNoKeys) keys = undefined;
    if (hasNoKeys) throw new Problem(issuerUnavailable, undefined, { retryAfterSeconds: 5, cause });
    throw new Problem(invalidAdminCredential, undefined, { cause });
  }
}

/** A key set without keys verifies no token: the issuer is at fault, not the caller. */
function isEmpty(found: KeySet): boolean {
  return found.jwks()?.keys.length === 0;
}

/** The keys of the issuer. `jose` fetches them for the first token, caches them, and refetches for an unknown key id. */
let keys: { url: string; find: KeySet } | undefined;
type KeySet = ReturnType<typeof import('jose').createRemoteJWKSet>;

/** @throws SettingsError when one is missing or invalid */
function jwtSettings(): { issuer: string; audience: string; jwksUrl: string } {
  const { issuer, audience, jwksUrl = `${issuer?.replace(/\/$/, '')}/.well-known/jwks.json` } = settings().adminJwt;
  if (!issuer) {
    throw new SettingsError('ADMIN_JWT_ISSUER must be the `iss` of the tokens, e.g. https://login.example.com/');
  }
  if (!audience) throw new SettingsError('ADMIN_JWT_AUDIENCE must be the `aud` of the tokens, e.g. berth.');
  if (!/^https?:\/\//.test(jwksUrl) || !URL.canParse(jwksUrl)) {
    throw new SettingsError('ADMIN_JWT_JWKS_URL must be the https:// URL of the issuer’s key set (JWKS).');
  }
  return { issuer, audience, jwksUrl };
}
