import { createSecretKey, type KeyObject } from 'node:crypto';

/** A setting is missing or wrong: the sentence names the variable and what it may be. */
export class SettingsError extends Error {
  override name = 'SettingsError';
}
/** It is missing, which only whoever asks for it is told: a function has the settings that it uses. */
class NotSetError extends SettingsError {}

/**
 * One generation of the pepper. Hashes and salts carry the generation they were made with. A KeyObject: it is never
 * printed, and Node's HMAC takes it without trying first what it is.
 */
export type Pepper = { generation: string; key: KeyObject };

/** One generation of the key that secrets are sealed with: 32 bytes. */
export type SealKey = { generation: string; key: Buffer };

/** What a request to AWS is signed with, as Lambda puts it into the environment. */
export type Aws = Readonly<{
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string | undefined;
}>;

/** How the database is reached: with a URL, a secret of Secrets Manager, or a token of IAM. */
export type Database = Readonly<
  | { by: 'url'; url: string }
  | { by: 'secret'; secretArn: string; host: string | undefined; port: string; name: string }
  | { by: 'iam'; user: string; host: string; port: string; name: string; aws: Aws }
>;

export type Settings = Readonly<{
  database: Database;
  /** PEM of the CA that signs the database server's certificate; absent: RDS' own for RDS, else the system's. */
  databaseCa: string | undefined;
  databasePrepare: boolean;
  /** The role that `migrate` makes for the functions and gives its rights. */
  databaseAppUser: string | undefined;
  /** The current pepper first, then older ones that are still accepted. */
  peppers: readonly [Pepper, ...Pepper[]];
  /** What brokers' passwords and private keys are sealed with, the current one first; none: not configured. */
  sealKeys: readonly SealKey[];
  /** The local stack, where brokers may be on this machine. */
  isLocalStack: boolean;
  mqttBrokerUrl: string | undefined;
  mqttPasswordHash: 'pbkdf2' | 'bcrypt';
  autoAssignBroker: boolean;
  /** The legacy service works on the same database: hashes stay in its form, new devices' keys get one in it. */
  keepLegacyHashes: boolean;
  adminAuth: 'token' | 'jwt' | 'none' | undefined;
  /** SHA-256 in hex of the operators' tokens: one, or several while one succeeds the other. */
  adminTokenHashes: readonly string[];
  /** The same of tokens that may only read. */
  adminReadTokenHashes: readonly string[];
  /** Whose access tokens are accepted, for whom, and where the keys are; checked where they are used. */
  adminJwt: Readonly<Record<'issuer' | 'audience' | 'jwksUrl', string | undefined>>;
  /** SHA-256 in hex of what brokers authenticate with, several with commas between; checked where it is used. */
  brokerSecretHash: string | undefined;
}>;

type Env = Record<string, string | undefined>;

/** Those that may stand in Secrets Manager: with `NAME_ARN` the value is fetched from there. */
const SECRETS = [
  'BERTH_PEPPER',
  'BERTH_SEAL_KEY',
  'ADMIN_TOKEN_HASH',
  'ADMIN_READ_TOKEN_HASH',
  'BROKER_AUTH_SECRET_HASH',
];

let loaded: Settings | undefined;
let secrets: Env = {};

/**
 * The settings, read from the environment once, at the first use. One that is missing is an error when it
 * is asked for, one that is wrong at once.
 *
 * @throws SettingsError in one sentence when a variable is missing or not usable
 */
export function settings(): Settings {
  loaded ??= settingsOf({ ...process.env, ...secrets });
  return loaded;
}

/** Forgets what was read, so that the next `settings()` reads the environment again (tests). */
export function reloadSettings(): void {
  loaded = undefined;
  secrets = {};
}

/** Reads and checks all settings of `env`, which must all be there; see {@link config}. */
export function readSettings(env: Env): Settings {
  return Object.freeze({ ...settingsOf(env) });
}

/** The settings of the environment that Secrets Manager has, by name, with the ARNs of their secrets. */
export function secretArns(): [name: string, arn: string][] {
  return SECRETS.flatMap((name) => {
    const arn = process.env[`${name}_ARN`];
    // A value in the environment wins, as DATABASE_URL does.
    return arn && !process.env[name] ? [[name, arn] as [string, string]] : [];
  });
}

/** How long a value of Secrets Manager is used before it is looked up again, in milliseconds. */
export function secretsTtlMs(): number {
  return 1_000 * (Number(process.env.SECRETS_TTL_SECONDS) || 300);
}

/**
 * Takes values of Secrets Manager into use, by the names of their settings.
 * @throws SettingsError when one is not usable: then everything stays as it was
 */
export function useSecrets(values: Record<string, string>): void {
  if (SECRETS.every((name) => values[name] === secrets[name])) return;
  loaded = settingsOf({ ...process.env, ...values });
  secrets = values;
}

/** Reads all that is there; what isn't set throws when it is asked for. */
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

function readersOf(env: Env): { [Name in keyof Settings]: () => Settings[Name] } {
  const adminAuth = () => oneOf(env, 'ADMIN_AUTH', ['token', 'jwt', 'none'], undefined);
  const tokenHashes = (name: string) => (adminAuth() === 'token' ? readTokenHashes(env, name) : []);
  return {
    database: () => readDatabase(env),
    databaseCa: () => env.DATABASE_CA || undefined,
    databasePrepare: () => flag(env, 'DATABASE_PREPARE', true),
    databaseAppUser: () => env.DATABASE_APP_USER || undefined,
    peppers: () => readPeppers(required(env, 'BERTH_PEPPER', 'at least 32 random characters')),
    sealKeys: () => readSealKeys(env.BERTH_SEAL_KEY),
    isLocalStack: () => env.BERTH_STAGE === 'local',
    mqttBrokerUrl: () => readBrokerUrl(env.MQTT_BROKER_URL),
    mqttPasswordHash: () => oneOf(env, 'MQTT_PASSWORD_HASH', ['pbkdf2', 'bcrypt'], 'pbkdf2'),
    autoAssignBroker: () => flag(env, 'AUTO_ASSIGN_BROKER', false),
    keepLegacyHashes: () => oneOf(env, 'LEGACY_HASHES', ['upgrade', 'keep'], 'upgrade') === 'keep',
    adminAuth,
    adminTokenHashes: () => tokenHashes('ADMIN_TOKEN_HASH'),
    adminReadTokenHashes: () => (env.ADMIN_READ_TOKEN_HASH ? tokenHashes('ADMIN_READ_TOKEN_HASH') : []),
    adminJwt: () => ({
      issuer: env.ADMIN_JWT_ISSUER,
      audience: env.ADMIN_JWT_AUDIENCE,
      jwksUrl: env.ADMIN_JWT_JWKS_URL || undefined,
    }),
    brokerSecretHash: () => env.BROKER_AUTH_SECRET_HASH,
  };
}

/** The first that is set: DATABASE_URL, DATABASE_SECRET_ARN, DATABASE_AUTH=iam. */
function readDatabase(env: Env): Database {
  const isIam = oneOf(env, 'DATABASE_AUTH', ['iam'], undefined) !== undefined;
  const secretArn = env.DATABASE_SECRET_ARN;
  if (env.DATABASE_URL || !(secretArn || isIam)) return { by: 'url', url: readDatabaseUrl(env) };
  const host = env.DATABASE_HOST;
  const port = env.DATABASE_PORT || '5432';
  const name = env.DATABASE_NAME || 'berth';
  if (secretArn) return { by: 'secret', secretArn, host, port, name };
  const needed = (name: string) => required(env, name, 'there with DATABASE_AUTH=iam');
  const aws = {
    region: needed('AWS_REGION'),
    accessKeyId: needed('AWS_ACCESS_KEY_ID'),
    secretAccessKey: needed('AWS_SECRET_ACCESS_KEY'),
    sessionToken: env.AWS_SESSION_TOKEN,
  };
  return { by: 'iam', user: needed('DATABASE_USER'), host: needed('DATABASE_HOST'), port, name, aws };
}

function readDatabaseUrl(env: Env): string {
  const form = 'postgres://user:password@host:5432/database';
  const value = required(env, 'DATABASE_URL', form);
  if (!/^postgres(ql)?:\/\//.test(value) || !URL.canParse(value)) {
    throw new SettingsError(`DATABASE_URL must look like ${form}; percent-encode special characters of the password.`);
  }
  if (new URL(value).hostname.includes(',')) {
    throw new SettingsError('DATABASE_URL names several hosts: give it one, a name that follows the primary.');
  }
  return value;
}

/** `secret` or `generation:secret`. */
const GENERATION = /^\s*(?:([A-Za-z0-9]{1,16}):)?(.*?)\s*$/;

/** `BERTH_PEPPER`: `secret`, or `2:secret,1:older-secret` with the current generation first. */
function readPeppers(value: string): [Pepper, ...Pepper[]] {
  const peppers = value.split(',').map((part, index, all) => {
    const [, generation, secret] = GENERATION.exec(part) ?? [];
    if (!secret || secret.length < 32) {
      throw new SettingsError(
        'BERTH_PEPPER is too short: use at least 32 random characters, e.g. `openssl rand -hex 32`.',
      );
    }
    if (!generation && all.length > 1) {
      throw new SettingsError(
        'BERTH_PEPPER with several secrets needs a generation before each: `2:new,1:old`, current first.',
      );
    }
    return { generation: generation ?? String(index + 1), key: createSecretKey(secret, 'utf8') };
  });
  if (new Set(peppers.map(({ generation }) => generation)).size < peppers.length) {
    throw new SettingsError('BERTH_PEPPER names one generation twice.');
  }
  return peppers as [Pepper, ...Pepper[]];
}

/** `BERTH_SEAL_KEY`: like the pepper, `key` or `2:key,1:older-key`; a key is 32 bytes in base64 or hex. */
function readSealKeys(value: string | undefined): SealKey[] {
  const keys = (value ? value.split(',') : []).map((part) => {
    const [, generation = '1', text = ''] = GENERATION.exec(part) ?? [];
    return { generation, key: Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64') };
  });
  if (keys.some(({ key }) => key.length !== 32) || new Set(keys.map((one) => one.generation)).size < keys.length) {
    throw new SettingsError(
      'BERTH_SEAL_KEY must be 32 bytes in base64 or hex (`openssl rand -base64 32`), or several: `2:new,1:old`.',
    );
  }
  return keys;
}

/** `hash`, or `new,old` while one succeeds the other. */
function readTokenHashes(env: Env, name: string): string[] {
  const hashes = required(env, name, 'the SHA-256 of the admin token in hex')
    .toLowerCase()
    .split(/\s*,\s*/);
  if (!hashes.every((hash) => /^[0-9a-f]{64}$/.test(hash))) {
    throw new SettingsError(`${name} must be 64 hex digits: \`printf %s "$TOKEN" | sha256sum\`.`);
  }
  return hashes;
}

function readBrokerUrl(value: string | undefined): string | undefined {
  if (!value) return undefined;
  if (!/^(mqtts?|wss?):\/\/[^\s/]+/.test(value) || !URL.canParse(value)) {
    throw new SettingsError('MQTT_BROKER_URL must look like mqtt://host:1883 (mqtt, mqtts, ws or wss).');
  }
  return value;
}

function required(env: Env, name: string, example: string): string {
  const value = env[name];
  if (!value) throw new NotSetError(`${name} is not set: it must be ${example}.`);
  return value;
}

function flag(env: Env, name: string, fallback: boolean): boolean {
  return oneOf(env, name, ['true', 'false'], String(fallback) as 'true' | 'false') === 'true';
}

function oneOf<T extends string, F extends T | undefined>(env: Env, name: string, allowed: T[], fallback: F): T | F {
  const value = env[name];
  if (value === undefined || value === '') return fallback;
  if (!allowed.includes(value as T)) {
    throw new SettingsError(`${name} is "${value}": it must be ${allowed.join(' or ')}, or unset.`);
  }
  return value as T;
}
