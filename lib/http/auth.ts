import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import type { Actor } from '../context.ts';
import { sameSecret } from '../crypto/compare.ts';
import { sha256Hex } from '../crypto/hash.ts';
import { Problem, type ProblemType, unauthorized } from '../errors.ts';

/** What an admin route requires: `read` for GET, `write` for other methods. `write` includes `read`. */
export type Scope = 'read' | 'write';

/** How a route authenticates its caller. Keys of devices and provisioning keys are checked by the verb. */
export type Auth = {
  name: 'provisioning-key' | 'device-key' | 'admin' | 'broker' | 'anyone';
  /** Carries the key when a proxy needs `Authorization` for itself. */
  header?: 'x-provisioning-key' | 'x-device-api-key';
  /** The refusals. */
  problems: readonly ProblemType[];
  /** Runs before the input is parsed. Returns who calls, or throws. */
  authorise?: (event: APIGatewayProxyEventV2, scope: Scope) => Promise<Caller>;
};

/** `scopes`: what an operator's credential may do. */
export type Caller = { actor: Actor; scopes?: readonly Scope[] };

export const provisioningKey: Auth = {
  name: 'provisioning-key',
  header: 'x-provisioning-key',
  problems: [unauthorized],
};
/** For what is no secret: the panel, which holds no data, and the description of the API. */
export const anyone: Auth = { name: 'anyone', problems: [] };
export const deviceKey: Auth = { name: 'device-key', header: 'x-device-api-key', problems: [unauthorized] };

/**
 * The credential of a request: from the key header, else from `Authorization: Bearer KEY` (the scheme is
 * case-insensitive), else from a bare `Authorization: KEY`, which the legacy service accepted.
 *
 * @returns undefined when none was sent
 * @throws Problem `unauthorized` for another scheme or for two `Authorization` headers
 */
export function credentialOf(event: APIGatewayProxyEventV2, keyHeader?: Auth['header']): string | undefined {
  const own = keyHeader && event.headers[keyHeader]?.trim();
  if (own) return own;
  const header = event.headers.authorization?.trim();
  if (!header) return undefined;
  // The gateway joins repeated headers with commas.
  if (/,\s*(bearer|basic)\s/i.test(header)) {
    throw new Problem(unauthorized, 'There are two Authorization headers; send one, `Authorization: Bearer KEY`.');
  }
  const [, scheme, rest] = /^(\S+)\s+(.+)$/.exec(header) ?? [];
  if (scheme === undefined || rest === undefined) return /^(bearer|basic)$/i.test(header) ? undefined : header;
  if (scheme.toLowerCase() !== 'bearer') {
    throw new Problem(unauthorized, `Authorization scheme "${scheme}" is not supported; send Bearer.`);
  }
  return rest.trim();
}

/** Whether the SHA-256 of a credential is one of these, in hex. */
export function isHashedIn(hashes: readonly string[], credential: string): boolean {
  const sent = sha256Hex(credential);
  // Compare with every hash, so that the time does not reveal which one matched.
  return hashes.map((hash) => sameSecret(sent, hash)).includes(true);
}
