import type { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { settingsUnavailable, temporaryProblem } from '../errors.ts';
import { log } from '../log.ts';
import { count } from '../metrics.ts';
import { SettingsError, secretArns, secretsTtlMs, useSecrets } from './settings.ts';

/** The most that a look-up may take while there is an older value, and when it is tried again after that. */
const PATIENCE_MS = 2_000;
const RETRY_MS = 10_000;

type Cached = { value: string; lookAgainAt: number };
const cache = new Map<string, Cached>();
/** The settings' values that are in use, in the order of their ARNs. */
let used: string[] | undefined;
let client: SecretsManagerClient | undefined;

/**
 * Makes those settings current that stand in Secrets Manager. The request that finds a value older than
 * SECRETS_TTL_SECONDS looks it up: between two requests nothing goes on in a Lambda. When that fails, or what
 * it brings isn't usable, the older value stays in use.
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
 * @throws Problem `settings-unavailable` when it can't be had by `deadline`
 */
export async function readSecret(arn: string, deadline: number): Promise<string> {
  const cached = cache.get(arn);
  if (!cached) return renewSecret(arn, deadline);
  if (Date.now() < cached.lookAgainAt) return cached.value;
  return renewSecret(arn, Math.min(deadline, Date.now() + PATIENCE_MS)).catch(() => {
    cached.lookAgainAt = Date.now() + RETRY_MS;
    return cached.value;
  });
}

/**
 * Looks a secret up, whatever is in the cache.
 * @throws Problem `settings-unavailable`
 */
export async function renewSecret(arn: string, deadline: number): Promise<string> {
  const lookAgainAt = Date.now() + secretsTtlMs();
  try {
    const value = await fetchSecret(arn, 'AWSCURRENT', deadline);
    cache.set(arn, { value, lookAgainAt });
    return value;
  } catch (cause) {
    log.error('secret unavailable', { arn, reason: (cause as Error).message });
    count('SecretUnavailable');
    throw temporaryProblem(settingsUnavailable, cause);
  }
}

/** The version that a rotation is bringing into use; undefined: there is none. */
export function pendingSecret(arn: string, deadline: number): Promise<string | undefined> {
  return fetchSecret(arn, 'AWSPENDING', deadline).catch(() => undefined);
}

/** Asks Secrets Manager, with Lambda's own SDK: loaded here, because who has no secrets needs none. */
async function fetchSecret(arn: string, stage: 'AWSCURRENT' | 'AWSPENDING', deadline: number): Promise<string> {
  const { GetSecretValueCommand, SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
  client ??= new SecretsManagerClient({ requestHandler: { connectionTimeout: 1_000 } });
  const command = new GetSecretValueCommand({ SecretId: arn, VersionStage: stage });
  const abortSignal = AbortSignal.timeout(Math.max(0, deadline - Date.now()));
  const value = (await client.send(command, { abortSignal })).SecretString?.trim();
  if (!value) throw new SettingsError('empty');
  return value;
}
