import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import { config } from '../config.ts';
import { Problem } from '../errors.ts';
import { sameSecret, sha256Hex } from '../secrets.ts';

/** The header that carries a key where `Authorization` is taken. */
export type KeyHeader = 'x-provisioning-key' | 'x-device-api-key';

/**
 * The credential of a request: the key header's, else `Authorization: Bearer KEY` (scheme in any case),
 * else a bare `Authorization: KEY`, which the legacy service accepted.
 *
 * @returns undefined when none was sent
 * @throws Problem `unauthorized` for another scheme or for two credentials at once
 */
export function credentialOf(event: APIGatewayProxyEventV2, keyHeader?: KeyHeader): string | undefined {
  const own = keyHeader && event.headers[keyHeader]?.trim();
  if (own) return own;
  const header = event.headers.authorization?.trim();
  if (!header) return undefined;
  // The gateway joins a repeated header with commas.
  if (/,\s*(bearer|basic)\s/i.test(header)) {
    throw new Problem('unauthorized', 'There are two Authorization headers; send one, `Authorization: Bearer KEY`.');
  }
  const [, scheme, rest] = /^(\S+)\s+(.+)$/.exec(header) ?? [];
  if (scheme === undefined || rest === undefined) return /^(bearer|basic)$/i.test(header) ? undefined : header;
  if (scheme.toLowerCase() !== 'bearer') {
    throw new Problem('unauthorized', `Authorization scheme "${scheme}" is not known here; send Bearer.`);
  }
  return rest.trim();
}

/**
 * Lets an operator in, or throws. Closed by default: without ADMIN_AUTH nobody passes.
 * @throws Problem `admin-disabled`, `unauthorized`, `invalid-admin-credential`
 */
export function authoriseAdmin(event: APIGatewayProxyEventV2): string {
  const { adminAuth, adminTokenHash } = config();
  if (!adminAuth) throw new Problem('admin-disabled');
  if (adminAuth === 'none') return 'admin';
  const token = credentialOf(event);
  if (!token) throw new Problem('unauthorized', 'Send the admin token as `Authorization: Bearer TOKEN`.');
  if (!adminTokenHash || !sameSecret(sha256Hex(token), adminTokenHash)) throw new Problem('invalid-admin-credential');
  return 'admin';
}
