import { createSecretKey, type KeyObject } from 'node:crypto';
import * as z from 'zod/mini';

/** A setting is missing or wrong. The message names the variable and says what it must be. */
export class SettingsError extends Error {
  override name = 'SettingsError';
}
/** A setting is missing, which is an error only for a function that uses it. */
class NotSetError extends SettingsError {}

// Node asks the operating system for each variable that is read, and Powertools reads 34 for a registration: 12 µs.
process.env = { ...process.env };

/** One generation of the pepper. A KeyObject is never printed, and saves 15 µs per HMAC over a Buffer. */
export type Pepper = { generation: string; key: KeyObject };

/** One generation of the key that seals secrets: 32 bytes. */
export type SealKey = { generation: string; key: Buffer };

/** How to log in to the database: with a URL, a secret of Secrets Manager, or an IAM token. */
export type Database = ReturnType<typeof readDatabase>;
/** The credentials that sign a request to AWS, as Lambda puts them into the environment. */
export type Aws = Extract<Database, { by: 'iam' }>['aws'];

type Env = Record<string, string | undefined>;
type Readers = ReturnType<typeof readersOf>;
export type Settings = Readonly<{ [Name in keyof Readers]: ReturnType<Readers[Name]> }>;

/** Settings that can be in Secrets Manager. `NAME_ARN` is the ARN of the secret. */
const SECRETS = [
  'BERTH_PEPPER',
  'BERTH_SEAL_KEY',
  'ADMIN_TOKEN_HASH',
  'ADMIN_READ_TOKEN_HASH',
  'BROKER_AUTH_SECRET_HASH',
];

let loaded: Settings | undefined;
let secrets: Env = {};
let arns: [name: string, arn: string][] | undefined;

/**
 * The settings, read from the environment at the first use. A setting that is missing is an error for the code that
 * reads it. A setting that is wrong is an error immediately.
 *
 * @throws SettingsError in one sentence when a variable is missing or wrong
 */
export function settings(): Settings {
  loaded ??= settingsOf({ ...process.env, ...secrets });
  return loaded;
}

/** Makes the next `settings()` read the environment again (tests). */
export function reloadSettings(): void {
  loaded = undefined;
  arns = undefined;
  secrets = {};
}

/** Reads and checks all settings of `env`. None may be missing. See {@link settings}. */
export function readSettings(env: Env): Settings {
  return Object.freeze({ ...settingsOf(env) });
}

/** The settings to read from Secrets Manager, with the ARNs of their secrets. A value in the environment takes precedence. */
export function secretArns(): [name: string, arn: string][] {
  // Read once: each look at process.env takes about a microsecond.
  arns ??= SECRETS.flatMap((name) => {
    const arn = process.env[`${name}_ARN`];
    return arn && !process.env[name] ? [[name, arn] as [string, string]] : [];
  });
  return arns;
}

/** How long a value of Secrets Manager is used before it is read again, in milliseconds. */
export function secretsTtlMs(): number {
  return 1_000 * (Number(process.env.SECRETS_TTL_SECONDS) || 300);
}

/**
 * Uses these values of Secrets Manager, by the names of their settings.
 * @throws SettingsError when one is wrong. Then the settings stay as they were
 */
export function useSecrets(values: Record<string, string>): void {
  if (SECRETS.every((name) => values[name] === secrets[name])) return;
  loaded = settingsOf({ ...process.env, ...values });
  secrets = values;
}

/** Reads every setting. A setting that is missing throws when it is used. */
function settingsOf(env: Env): Settings {
  const settings = {};
  for (const [name, read] of Object.entries(readersOf(env))) {
    let get: () => unknown = read;
    try {
      const value = read();
      get = () => value;
    } catch (error) {
      if (!(error instanceof NotSetError)) throw error;
    }
    Object.defineProperty(settings, name, { get, enumerable: true });
  }
  return Object.freeze(settings as Settings);
}

function readersOf(env: Env) {
  const adminAuth = () => optional(env, 'ADMIN_AUTH', oneOf('token', 'jwt', 'none'));
  const isToken = () => adminAuth() === 'token';
  return {
    database: () => readDatabase(env),
    /** PEM of the CA that signs the database server's certificate. Default: RDS' own CA for RDS, else the system's CAs. */
    databaseCa: () => optional(env, 'DATABASE_CA'),
    databasePrepare: () => optional(env, 'DATABASE_PREPARE', flag) !== 'false',
    /** The role that the functions log in as. `migrate` creates it and grants its rights. */
    databaseAppUser: () => optional(env, 'DATABASE_APP_USER'),
    /** The role that `mqtt-auth` logs in as. `migrate` creates it and grants its rights. */
    databaseMqttAuthUser: () => optional(env, 'DATABASE_MQTT_AUTH_USER'),
    /** The current pepper first, then older peppers that are still accepted. */
    peppers: () => required(env, 'BERTH_PEPPER', 'at least 32 random characters', peppers),
    /** The keys that seal brokers' passwords and private keys, the current one first. Empty: not configured. */
    sealKeys: () => optional(env, 'BERTH_SEAL_KEY', sealKeys) ?? [],
    /** In the local stack, brokers may have addresses of this machine. */
    isLocalStack: () => env.BERTH_STAGE === 'local',
    mqttBrokerUrl: () => optional(env, 'MQTT_BROKER_URL', brokerUrl),
    mqttPasswordHash: () => optional(env, 'MQTT_PASSWORD_HASH', oneOf('pbkdf2', 'bcrypt')) ?? 'pbkdf2',
    autoAssignBroker: () => optional(env, 'AUTO_ASSIGN_BROKER', flag) === 'true',
    /** The legacy service uses the same database: keep its hashes, and store new device keys as it does. */
    keepLegacyHashes: () => optional(env, 'LEGACY_HASHES', oneOf('upgrade', 'keep')) === 'keep',
    /** After how many days events are purged. */
    eventRetentionDays: () => optional(env, 'EVENT_RETENTION_DAYS', retentionDays) ?? 400,
    /** The least length of a new device key. A device key of 4 digits is guessed in minutes. */
    deviceKeyMinLength: () => Number(optional(env, 'DEVICE_KEY_MIN_LENGTH', keyLength) ?? 8),
    /** How long a former broker accepts a device that was handed newer settings, in hours. */
    formerBrokerHours: () => Number(optional(env, 'FORMER_BROKER_HOURS', formerHours) ?? 24),
    /** The header in which a trusted proxy in front of the gateway names the caller's address. Its name is a secret. */
    clientAddressHeader: () => optional(env, 'CLIENT_ADDRESS_HEADER', secretHeader),
    adminAuth,
    /** SHA-256 in hex of the operators' tokens: one, or several during rotation. */
    adminTokenHashes: () => (isToken() ? required(env, 'ADMIN_TOKEN_HASH', HASH_EXAMPLE, tokenHashes) : []),
    /** SHA-256 in hex of tokens that may only read. */
    adminReadTokenHashes: () => (isToken() && optional(env, 'ADMIN_READ_TOKEN_HASH', tokenHashes)) || [],
    /** Issuer and audience of access tokens, and the address of the issuer's keys. lib/http/admin.ts checks them. */
    adminJwt: () => ({
      issuer: optional(env, 'ADMIN_JWT_ISSUER'),
      audience: optional(env, 'ADMIN_JWT_AUDIENCE'),
      jwksUrl: optional(env, 'ADMIN_JWT_JWKS_URL'),
      /** The claim with the audience: Cognito's access tokens have `client_id` instead of `aud`. */
      audienceClaim: optional(env, 'ADMIN_JWT_AUDIENCE_CLAIM') ?? 'aud',
      /** The claim with the scopes. Undefined: `scope`, `scp` and `permissions`. */
      scopeClaim: optional(env, 'ADMIN_JWT_SCOPE_CLAIM'),
      /** What the issuer calls the scopes. */
      scopes: {
        read: optional(env, 'ADMIN_JWT_READ_SCOPE') ?? 'berth:read',
        write: optional(env, 'ADMIN_JWT_WRITE_SCOPE') ?? 'berth:write',
      },
    }),
    /** SHA-256 in hex of the brokers' secret, several separated by commas. lib/http/broker-auth.ts checks it. */
    brokerSecretHash: () => optional(env, 'BROKER_AUTH_SECRET_HASH'),
  };
}

/** The first that is set: DATABASE_URL, DATABASE_SECRET_ARN, DATABASE_AUTH=iam. */
function readDatabase(env: Env) {
  const isIam = optional(env, 'DATABASE_AUTH', oneOf('iam')) !== undefined;
  const secretArn = optional(env, 'DATABASE_SECRET_ARN');
  if (env.DATABASE_URL || !(secretArn || isIam)) {
    return { by: 'url' as const, url: required(env, 'DATABASE_URL', URL_EXAMPLE, databaseUrl) };
  }
  const host = optional(env, 'DATABASE_HOST');
  const port = optional(env, 'DATABASE_PORT') ?? '5432';
  const name = optional(env, 'DATABASE_NAME') ?? 'berth';
  if (secretArn) return { by: 'secret' as const, secretArn, host, port, name };
  const needed = (variable: string) => required(env, variable, 'set with DATABASE_AUTH=iam');
  const aws = {
    region: needed('AWS_REGION'),
    accessKeyId: needed('AWS_ACCESS_KEY_ID'),
    secretAccessKey: needed('AWS_SECRET_ACCESS_KEY'),
    sessionToken: env.AWS_SESSION_TOKEN,
  };
  return { by: 'iam' as const, user: needed('DATABASE_USER'), host: needed('DATABASE_HOST'), port, name, aws };
}

// The forms of the variables. A message continues the sentence that begins with the variable's name.

const URL_EXAMPLE = 'postgres://user:password@host:5432/database';
const HASH_EXAMPLE = 'the SHA-256 of the admin token in hex';

function oneOf<T extends string>(...allowed: T[]) {
  return z.enum(allowed, { error: ({ input }) => `is "${input}": it must be ${allowed.join(' or ')}, or unset.` });
}
function rule<T>(isMet: (value: T) => boolean, message: string) {
  return z.refine<T>(isMet, { message, abort: true });
}
function areDistinct(all: { generation: string | undefined }[]): boolean {
  return new Set(all.map(({ generation }) => generation)).size === all.length;
}

const flag = oneOf('true', 'false');
/** berth_purge_events in the database has the same minimum. */
const retentionDays = z.pipe(
  z
    .string()
    .check(rule((value) => /^\d{1,5}$/.test(value) && Number(value) >= 90, 'must be a number of days, at least 90.')),
  z.transform(Number),
);
const keyLength = z
  .string()
  .check(
    rule(
      (value) => /^\d{1,3}$/.test(value) && Number(value) >= 1 && Number(value) <= 255,
      'must be a whole number from 1 to 255.',
    ),
  );
const formerHours = z
  .string()
  .check(
    rule(
      (value) => /^\d{1,4}$/.test(value) && Number(value) >= 1 && Number(value) <= 8760,
      'must be a whole number of hours from 1 to 8760.',
    ),
  );
/** Long enough for a random part: who knows the name can claim any address. */
const secretHeader = z
  .string()
  .check(
    z.regex(/^[a-z0-9-]{24,64}$/, 'must be 24 to 64 lower-case letters, digits and hyphens, some of them random.'),
  );
const databaseUrl = z.string().check(
  rule(
    (value) => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value),
    `must look like ${URL_EXAMPLE}; percent-encode special characters of the password.`,
  ),
  rule((value) => !new URL(value).hostname.includes(','), 'names several hosts: use one that follows the primary.'),
);
const brokerUrl = z
  .string()
  .check(
    rule(
      (value) => /^(mqtts?|wss?):\/\/[^\s/]+/.test(value) && URL.canParse(value),
      'must look like mqtt://host:1883 (mqtt, mqtts, ws or wss).',
    ),
  );
/** `hash`, or `new,old` during rotation. */
const tokenHashes = z.pipe(
  z.transform((list: string) => list.toLowerCase().split(/\s*,\s*/)),
  z.array(z.string().check(z.regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits: `printf %s "$TOKEN" | sha256sum`.'))),
);
/** `secret`, or `2:new,1:old` with the current generation first. */
const generations = z.transform((list: string) =>
  list.split(',').map((part) => {
    const [, generation, secret = ''] = /^\s*(?:([A-Za-z0-9]{1,16}):)?(.*?)\s*$/.exec(part) ?? [];
    return { generation, secret };
  }),
);
const peppers = z.pipe(
  generations.check(
    rule(
      (all) => all.every(({ secret }) => secret.length >= 32),
      'is too short: use at least 32 random characters, e.g. `openssl rand -hex 32`.',
    ),
    rule(
      (all) => all.length === 1 || (all.every(({ generation }) => generation) && areDistinct(all)),
      'with several secrets needs a different generation before each: `2:new,1:old`, current first.',
    ),
  ),
  z.transform((all) => all.map(pepperOf) as [Pepper, ...Pepper[]]),
);
const sealKeys = z
  .pipe(
    generations,
    z.transform((all) => all.map(sealKeyOf)),
  )
  .check(
    rule(
      (all) => all.every(({ key }) => key.length === 32) && areDistinct(all),
      'must be 32 bytes in base64 or hex (`openssl rand -base64 32`), or several: `2:new,1:old`.',
    ),
  );

type Generation = { generation: string | undefined; secret: string };

function pepperOf({ generation = '1', secret }: Generation): Pepper {
  return { generation, key: createSecretKey(secret, 'utf8') };
}

function sealKeyOf({ generation = '1', secret }: Generation): SealKey {
  return { generation, key: Buffer.from(secret, /^[0-9a-f]{64}$/i.test(secret) ? 'hex' : 'base64') };
}

/** The value of a variable; undefined when it is not set or empty. */
function optional<T = string>(env: Env, name: string, form?: z.ZodMiniType<T, string>): T | undefined {
  const value = env[name];
  if (!value) return undefined;
  if (!form) return value as T;
  const { data, error } = z.safeParse(form, value);
  if (error) throw new SettingsError(`${name} ${error.issues[0]?.message}`);
  return data;
}

function required<T = string>(env: Env, name: string, example: string, form?: z.ZodMiniType<T, string>): T {
  const value = optional(env, name, form);
  if (value === undefined) throw new NotSetError(`${name} is not set: it must be ${example}.`);
  return value;
}
