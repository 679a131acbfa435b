import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import type { Actor } from '../context.ts';
import { Problem, type ProblemType, unauthorized } from '../errors.ts';

/** What an admin route asks for: `read` for GET, `write` for all else; who may write may read. */
export type Scope = 'read' | 'write';

/**
 * How a route knows its caller. A device's key is checked by the route's own statement; `authorise`, where
 * there is one, runs before anything else is looked at, throws, or answers who it is.
 */
export type Auth = {
  name: 'provisioning-key' | 'device-key' | 'admin' | 'broker';
  /** The header that carries the key where `Authorization` is taken. */
  header?: 'x-provisioning-key' | 'x-device-api-key';
  /** What it refuses callers with. */
  problems: readonly ProblemType[];
  authorise?: (event: APIGatewayProxyEventV2, scope: Scope) => Promise<Actor>;
};

export const provisioningKey: Auth = {
  name: 'provisioning-key',
  header: 'x-provisioning-key',
  problems: [unauthorized],
};
export const deviceKey: Auth = { name: 'device-key', header: 'x-device-api-key', problems: [unauthorized] };

/**
 * The credential of a request: the key header's, else `Authorization: Bearer KEY` (scheme in any case),
 * else a bare `Authorization: KEY`, which the legacy service accepted.
 *
 * @returns undefined when none was sent
 * @throws Problem `unauthorized` for another scheme or for two credentials at once
 */
export function credentialOf(event: APIGatewayProxyEventV2, keyHeader?: Auth['header']): string | undefined {
  const own = keyHeader && event.headers[keyHeader]?.trim();
  if (own) return own;
  const header = event.headers.authorization?.trim();
  if (!header) return undefined;
  // The gateway joins a repeated header with commas.
  if (/,\s*(bearer|basic)\s/i.test(header)) {
    throw new Problem(unauthorized, 'There are two Authorization headers; send one, `Authorization: Bearer KEY`.');
  }
  const [, scheme, rest] = /^(\S+)\s+(.+)$/.exec(header) ?? [];
  if (scheme === undefined || rest === undefined) return /^(bearer|basic)$/i.test(header) ? undefined : header;
  if (scheme.toLowerCase() !== 'bearer') {
    throw new Problem(unauthorized, `Authorization scheme "${scheme}" is not known here; send Bearer.`);
  }
  return rest.trim();
}
