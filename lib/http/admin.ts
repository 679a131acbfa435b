import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import {
  adminDisabled,
  insufficientScope,
  invalidAdminCredential,
  issuerUnavailable,
  Problem,
  unauthorized,
} from '../errors.ts';
import { SettingsError, settings } from '../settings/settings.ts';
import { type Auth, type Caller, credentialOf, isHashedIn, type Scope } from './auth.ts';

/** For routes that operators call. Apart from auth.ts, so that the bundles of device routes do not contain it. */
export const admin: Auth = {
  name: 'admin',
  problems: [unauthorized, invalidAdminCredential, adminDisabled, insufficientScope, issuerUnavailable],
  authorise: authoriseAdmin,
};

/**
 * Authorises an operator. Closed by default: without ADMIN_AUTH every request is refused.
 *
 * @returns the actor, and all that the credential may do: `write` includes `read`
 * @throws Problem `admin-disabled`, `unauthorized`, `invalid-admin-credential`, `insufficient-scope`
 */
async function authoriseAdmin(event: APIGatewayProxyEventV2, scope: Scope): Promise<Caller> {
  const { adminAuth } = settings();
  if (!adminAuth) throw new Problem(adminDisabled);
  if (adminAuth === 'none') return gatewaysAdmin(event);
  const token = credentialOf(event);
  if (!token) throw new Problem(unauthorized, 'Send the admin credential as `Authorization: Bearer TOKEN`.');
  const caller = adminAuth === 'jwt' ? await verifyJwt(token) : verifyToken(token);
  if (!caller.scopes.includes(scope)) throw new Problem(insufficientScope);
  return caller;
}

type Admin = Required<Caller>;
type Claims = Readonly<Record<string, unknown>>;

const READ: readonly Scope[] = ['read'];
const ALL: readonly Scope[] = ['read', 'write'];

/**
 * The subject and the scopes that the gateway's JWT authorizer verified; `admin` with all scopes when it has another
 * authorizer or none. The gateway has checked the scope for this route.
 */
function gatewaysAdmin({ requestContext }: APIGatewayProxyEventV2): Admin {
  const { authorizer } = requestContext as { authorizer?: { jwt?: { claims?: Claims } } };
  const claims = authorizer?.jwt?.claims;
  return { actor: claims?.sub ? `admin:${claims.sub}` : 'admin', scopes: claims ? scopesOf(claims) : ALL };
}

/** The scopes that claims grant. The gateway makes texts of lists: `[berth:read berth:write]`. */
function scopesOf(claims: Claims): readonly Scope[] {
  const { scopes, scopeClaim } = settings().adminJwt;
  const granting = scopeClaim ? [claims[scopeClaim]] : [claims.scope, claims.scp, claims.permissions];
  const granted = granting
    .flat()
    .join(' ')
    .split(/[\s,[\]]+/);
  if (granted.includes(scopes.write)) return ALL;
  return granted.includes(scopes.read) ? READ : [];
}

function verifyToken(token: string): Admin {
  const { adminTokenHashes, adminReadTokenHashes } = settings();
  const writes = isHashedIn(adminTokenHashes, token);
  const reads = isHashedIn(adminReadTokenHashes, token);
  if (!writes && !reads) throw new Problem(invalidAdminCredential);
  return writes ? { actor: 'admin', scopes: ALL } : { actor: 'admin-read', scopes: READ };
}

/** Verifies an access token (RFC 9068): signature, issuer, audience and times. */
async function verifyJwt(token: string): Promise<Admin> {
  const { issuer, audience, audienceClaim, jwksUrl } = jwtSettings();
  const { createRemoteJWKSet, jwtVerify, errors } = await import('jose');
  if (keys?.url !== jwksUrl) {
    keys = { url: jwksUrl, find: createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 2_000 }) };
  }
  // Asymmetric algorithms only: neither `none` nor a shared secret.
  const algorithms = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');
  try {
    const { payload } = await jwtVerify(token, keys.find, {
      ...{ issuer, algorithms, requiredClaims: ['exp', audienceClaim] },
      ...(audienceClaim === 'aud' ? { audience } : {}),
    });
    const isForUs = audienceClaim === 'aud' || payload[audienceClaim] === audience;
    if (!isForUs) throw new errors.JWTClaimValidationFailed('another audience', payload, audienceClaim);
    return { actor: `admin:${payload.sub ?? 'unknown'}`, scopes: scopesOf(payload) };
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
function jwtSettings(): { issuer: string; audience: string; audienceClaim: string; jwksUrl: string } {
  const { adminJwt } = settings();
  const { issuer, audience, audienceClaim } = adminJwt;
  const { jwksUrl = `${issuer?.replace(/\/$/, '')}/.well-known/jwks.json` } = adminJwt;
  if (!issuer) {
    throw new SettingsError('ADMIN_JWT_ISSUER must be the `iss` of the tokens, e.g. https://login.example.com/');
  }
  if (!audience) throw new SettingsError('ADMIN_JWT_AUDIENCE must be the `aud` of the tokens, e.g. berth.');
  if (!/^https?:\/\//.test(jwksUrl) || !URL.canParse(jwksUrl)) {
    throw new SettingsError('ADMIN_JWT_JWKS_URL must be the https:// URL of the issuer’s key set (JWKS).');
  }
  return { issuer, audience, audienceClaim, jwksUrl };
}
