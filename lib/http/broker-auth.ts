import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import { brokerAuthDisabled, invalidBrokerSecret, Problem, unauthorized } from '../errors.ts';
import { SettingsError, settings } from '../settings/settings.ts';
import { type Auth, type Caller, credentialOf, isHashedIn } from './auth.ts';

/** For routes that brokers call. */
export const brokerSecret: Auth = {
  name: 'broker',
  problems: [unauthorized, invalidBrokerSecret, brokerAuthDisabled],
  authorise: authoriseBroker,
};

/**
 * Authorises a broker. Closed by default: without BROKER_AUTH_SECRET_HASH every request is refused. A broker that
 * cannot send headers sends the secret as `?secret=`.
 *
 * @returns the actor `broker:<id>` for a broker that sends its id as `?broker=`, else `broker`
 * @throws Problem `broker-auth-disabled`, `unauthorized`, `invalid-broker-secret`
 */
async function authoriseBroker(event: APIGatewayProxyEventV2): Promise<Caller> {
  const hashes = secretHashesOf(settings().brokerSecretHash);
  if (hashes.length === 0) throw new Problem(brokerAuthDisabled);
  const secret = credentialOf(event) ?? event.queryStringParameters?.secret;
  if (!secret) {
    throw new Problem(unauthorized, 'Send the secret as `Authorization: Bearer SECRET` or `?secret=SECRET`.');
  }
  if (!isHashedIn(hashes, secret)) throw new Problem(invalidBrokerSecret);
  const { broker = '' } = event.queryStringParameters ?? {};
  return { actor: /^\d{1,10}$/.test(broker) ? `broker:${Number(broker)}` : 'broker' };
}

/**
 * @param setting BROKER_AUTH_SECRET_HASH: the SHA-256 of the secret in hex, or `new,old` during rotation
 * @throws SettingsError
 */
export function secretHashesOf(setting: string | undefined): string[] {
  const hashes = setting ? setting.split(',').map((hash) => hash.trim().toLowerCase()) : [];
  if (!hashes.every((hash) => /^[0-9a-f]{64}$/.test(hash))) {
    throw new SettingsError('BROKER_AUTH_SECRET_HASH must be 64 hex digits: `printf %s "$SECRET" | sha256sum`.');
  }
  return hashes;
}
