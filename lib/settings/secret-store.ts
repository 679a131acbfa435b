import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { settingsUnavailable, temporaryProblem } from '../errors.ts';
import { log } from '../log.ts';
import { count } from '../metrics.ts';
import { SettingsError, secretArns, secretsTtlMs, useSecrets } from './settings.ts';

/** While there is an older value: how long a read may take, and when it is repeated after a failure. */
const REFRESH_MS = 2_000;
const RETRY_MS = 10_000;

type Cached = { value: string; refreshAt: number };
const cache = new Map<string, Cached>();
/** The values that the settings use, in the order of their ARNs. */
let used: string[] | undefined;
let client: SecretsManagerClient | undefined;

/**
 * Updates the settings that are in Secrets Manager. A request that finds a value older than SECRETS_TTL_SECONDS reads it
 * again, because nothing runs in a Lambda between requests. When the read fails or the new value is wrong, the older value
 * stays in use.
 *
 * @throws Problem `settings-unavailable`, or SettingsError, when there is no older value
 */
export async function loadSecrets(deadline: number): Promise<void> {
  const arns = secretArns();
  if (arns.length === 0) return;
  const values = await Promise.all(arns.map(([, arn]) => readSecret(arn, deadline)));
  try {
    useSecrets(Object.fromEntries(arns.map(([name], i) => [name, values[i] as string])));
    used = values;
  } catch (error) {
    if (!used) throw error;
    log.error('secret not usable', { reason: (error as Error).message });
    count('SecretNotUsable');
    for (const [i, [, arn]] of arns.entries()) (cache.get(arn) as Cached).value = used[i] as string;
  }
}

/**
 * The string of a secret, from the cache or from Secrets Manager.
 * @throws Problem `settings-unavailable` when it cannot be read by `deadline`
 */
export async function readSecret(arn: string, deadline: number): Promise<string> {
  const cached = cache.get(arn);
  if (!cached) return renewSecret(arn, deadline);
  if (Date.now() < cached.refreshAt) return cached.value;
  return renewSecret(arn, Math.min(deadline, Date.now() + REFRESH_MS)).catch(() => {
    cached.refreshAt = Date.now() + RETRY_MS;
    return cached.value;
  });
}

/**
 * Reads a secret from Secrets Manager and updates the cache.
 * @throws Problem `settings-unavailable`
 */
export async function renewSecret(arn: string, deadline: number): Promise<string> {
  const refreshAt = Date.now() + secretsTtlMs();
  try {
    const value = await fetchSecret(arn, 'AWSCURRENT', deadline);
    cache.set(arn, { value, refreshAt });
    return value;
  } catch (cause) {
    log.error('secret unavailable', { arn, reason: (cause as Error).message });
    count('SecretUnavailable');
    throw temporaryProblem(settingsUnavailable, cause);
  }
}

/** The version that a rotation is about to make current; undefined when there is none. */
export function pendingSecret(arn: string, deadline: number): Promise<string | undefined> {
  return fetchSecret(arn, 'AWSPENDING', deadline).catch(() => undefined);
}

/** Uses Lambda's own SDK, loaded only here: an installation without secrets does not need it. */
async function fetchSecret(arn: string, stage: 'AWSCURRENT' | 'AWSPENDING', deadline: number): Promise<string> {
  const { GetSecretValueCommand, SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
  client ??= new SecretsManagerClient({ requestHandler: { connectionTimeout: 1_000 } });
  const command = new GetSecretValueCommand({ SecretId: arn, VersionStage: stage });
  const abortSignal = AbortSignal.timeout(Math.max(0, deadline - Date.now()));
  const value = (await client.send(command, { abortSignal })).SecretString?.trim();
  if (!value) throw new SettingsError('empty');
  return value;
}
