import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import type { Actor } from '../context.ts';
import { sameSecret } from '../crypto/compare.ts';
import { sha256Hex } from '../crypto/hash.ts';
import { brokerAuthDisabled, invalidBrokerSecret, Problem, unauthorized } from '../errors.ts';
import { SettingsError, settings } from '../settings/settings.ts';
import { type Auth, credentialOf } from './auth.ts';

/** Brokers' routes. In a file of its own, as operators' are. */
export const brokerSecret: Auth = {
  name: 'broker',
  problems: [unauthorized, invalidBrokerSecret, brokerAuthDisabled],
  authorise: authoriseBroker,
};

/**
 * Lets a broker in, or throws. Closed by default: without BROKER_AUTH_SECRET_HASH nobody passes. The
 * secret comes as Bearer, or as `?secret=` from a broker that can send no header.
 *
 * @returns `broker:<id>` for one that says which broker it is (`?broker=`), else `broker`
 * @throws Problem `broker-auth-disabled`, `unauthorized`, `invalid-broker-secret`
 */
async function authoriseBroker(event: APIGatewayProxyEventV2): Promise<Actor> {
  const hashes = secretHashes();
  if (hashes.length === 0) throw new Problem(brokerAuthDisabled);
  const secret = credentialOf(event) ?? event.queryStringParameters?.secret;
  if (!secret)
    throw new Problem(unauthorized, 'Send the secret as `Authorization: Bearer SECRET` or `?secret=SECRET`.');
  const sent = sha256Hex(secret);
  // All are compared, so that the time tells nothing of which one it was.
  if (!hashes.map((hash) => sameSecret(sent, hash)).includes(true)) throw new Problem(invalidBrokerSecret);
  const { broker = '' } = event.queryStringParameters ?? {};
  return /^\d{1,10}$/.test(broker) ? `broker:${Number(broker)}` : 'broker';
}

/** BROKER_AUTH_SECRET_HASH: the secret's SHA-256 in hex, or `new,old` while one succeeds the other. */
function secretHashes(): string[] {
  const setting = settings().brokerSecretHash;
  const hashes = setting ? setting.split(',').map((hash) => hash.trim().toLowerCase()) : [];
  if (!hashes.every((hash) => /^[0-9a-f]{64}$/.test(hash))) {
    throw new SettingsError('BROKER_AUTH_SECRET_HASH must be 64 hex digits: `printf %s "$SECRET" | sha256sum`.');
  }
  return hashes;
}
