/** A setting is missing or wrong: the sentence names the variable and what it may be. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

/** One generation of the pepper. Hashes and salts carry the generation they were made with. */
export type Pepper = { generation: string; secret: string };

/** One generation of the key that secrets are sealed with: 32 bytes. */
export type SealKey = { generation: string; key: Buffer };

export type Config = Readonly<{
  databaseUrl: string;
  /** PEM of the CA that signs the database server's certificate; absent: the system's CAs. */
  databaseCa: string | undefined;
  databasePrepare: boolean;
  /** The current pepper first, then older ones that are still accepted. */
  peppers: readonly [Pepper, ...Pepper[]];
  /** What brokers' passwords and private keys are sealed with, the current one first; none: not configured. */
  sealKeys: readonly SealKey[];
  /** The local stack, where brokers may be on this machine. */
  isLocalStack: boolean;
  mqttBrokerUrl: string | undefined;
  mqttPasswordHash: 'pbkdf2' | 'bcrypt';
  autoAssignBroker: boolean;
  adminAuth: 'token' | 'jwt' | 'none' | undefined;
  adminTokenHash: string | undefined;
  /** A second token that may only read. */
  adminReadTokenHash: string | undefined;
  adminJwt: AdminJwt | undefined;
  /** SHA-256 in hex of what brokers authenticate with, several with commas between; checked where it is used. */
  brokerSecretHash: string | undefined;
}>;

/** Whose access tokens are accepted, for whom, and where the keys are that they are verified with. */
export type AdminJwt = Readonly<{ issuer: string; audience: string; jwksUrl: string }>;

type Env = Record<string, string | undefined>;

let loaded: Config | undefined;

/**
 * The settings, read from the environment once, at the first use.
 * @throws ConfigError in one sentence when a variable is missing or not usable
 */
export function config(): Config {
  loaded ??= readConfig(process.env);
  return loaded;
}

/** Forgets what was read, so that the next `config()` reads the environment again (tests, rotation). */
export function reloadConfig(): void {
  loaded = undefined;
}

/** Reads and checks all settings of `env`; see {@link config}. */
export function readConfig(env: Env): Config {
  const adminAuth = oneOf(env, 'ADMIN_AUTH', ['token', 'jwt', 'none'], undefined);
  return Object.freeze({
    databaseUrl: readDatabaseUrl(env),
    databaseCa: env.DATABASE_CA || undefined,
    databasePrepare: flag(env, 'DATABASE_PREPARE', true),
    peppers: readPeppers(required(env, 'BERTH_PEPPER', 'at least 32 random characters')),
    sealKeys: readSealKeys(env.BERTH_SEAL_KEY),
    isLocalStack: env.BERTH_STAGE === 'local',
    mqttBrokerUrl: readBrokerUrl(env.MQTT_BROKER_URL),
    mqttPasswordHash: oneOf(env, 'MQTT_PASSWORD_HASH', ['pbkdf2', 'bcrypt'], 'pbkdf2'),
    autoAssignBroker: flag(env, 'AUTO_ASSIGN_BROKER', false),
    adminAuth,
    adminTokenHash: adminAuth === 'token' ? readTokenHash(env, 'ADMIN_TOKEN_HASH') : undefined,
    adminReadTokenHash:
      adminAuth === 'token' && env.ADMIN_READ_TOKEN_HASH ? readTokenHash(env, 'ADMIN_READ_TOKEN_HASH') : undefined,
    adminJwt: adminAuth === 'jwt' ? readAdminJwt(env) : undefined,
    brokerSecretHash: env.BROKER_AUTH_SECRET_HASH,
  });
}

function readDatabaseUrl(env: Env): string {
  const form = 'postgres://user:password@host:5432/database';
  const value = required(env, 'DATABASE_URL', form);
  if (!/^postgres(ql)?:\/\//.test(value) || !URL.canParse(value)) {
    throw new ConfigError(`DATABASE_URL must look like ${form}; percent-encode special characters of the password.`);
  }
  if (new URL(value).hostname.includes(',')) {
    throw new ConfigError('DATABASE_URL names several hosts: give it one, a name that follows the primary.');
  }
  return value;
}

/** `BERTH_PEPPER`: `secret`, or `2:secret,1:older-secret` with the current generation first. */
function readPeppers(value: string): [Pepper, ...Pepper[]] {
  const peppers = value.split(',').map((part, index, all) => {
    const [, generation, secret] = /^\s*(?:([A-Za-z0-9]{1,16}):)?(.*?)\s*$/.exec(part) ?? [];
    if (!secret || secret.length < 32) {
      throw new ConfigError(
        'BERTH_PEPPER is too short: use at least 32 random characters, e.g. `openssl rand -hex 32`.',
      );
    }
    if (!generation && all.length > 1) {
      throw new ConfigError(
        'BERTH_PEPPER with several secrets needs a generation before each: `2:new,1:old`, current first.',
      );
    }
    return { generation: generation ?? String(index + 1), secret };
  });
  if (new Set(peppers.map(({ generation }) => generation)).size < peppers.length) {
    throw new ConfigError('BERTH_PEPPER names one generation twice.');
  }
  return peppers as [Pepper, ...Pepper[]];
}

/** `BERTH_SEAL_KEY`: like the pepper, `key` or `2:key,1:older-key`; a key is 32 bytes in base64 or hex. */
function readSealKeys(value: string | undefined): SealKey[] {
  const keys = (value ? value.split(',') : []).map((part) => {
    const [, generation = '1', text = ''] = /^\s*(?:([A-Za-z0-9]{1,16}):)?(.*?)\s*$/.exec(part) ?? [];
    return { generation, key: Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64') };
  });
  if (keys.some(({ key }) => key.length !== 32) || new Set(keys.map((one) => one.generation)).size < keys.length) {
    throw new ConfigError(
      'BERTH_SEAL_KEY must be 32 bytes in base64 or hex (`openssl rand -base64 32`), or several: `2:new,1:old`.',
    );
  }
  return keys;
}

function readTokenHash(env: Env, name: string): string {
  const hash = required(env, name, 'the SHA-256 of the admin token in hex').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hash)) {
    throw new ConfigError(`${name} must be 64 hex digits: \`printf %s "$TOKEN" | sha256sum\`.`);
  }
  return hash;
}

function readAdminJwt(env: Env): AdminJwt {
  const issuer = required(env, 'ADMIN_JWT_ISSUER', 'the `iss` of the tokens, e.g. https://login.example.com/');
  const audience = required(env, 'ADMIN_JWT_AUDIENCE', 'the `aud` of the tokens, e.g. berth');
  const jwksUrl = env.ADMIN_JWT_JWKS_URL || `${issuer.replace(/\/$/, '')}/.well-known/jwks.json`;
  if (!/^https?:\/\//.test(jwksUrl) || !URL.canParse(jwksUrl)) {
    throw new ConfigError('ADMIN_JWT_JWKS_URL must be the https:// address of the issuer’s key set (JWKS).');
  }
  return { issuer, audience, jwksUrl };
}

function readBrokerUrl(value: string | undefined): string | undefined {
  if (!value) return undefined;
  if (!/^(mqtts?|wss?):\/\/[^\s/]+/.test(value) || !URL.canParse(value)) {
    throw new ConfigError('MQTT_BROKER_URL must look like mqtt://host:1883 (mqtt, mqtts, ws or wss).');
  }
  return value;
}

function required(env: Env, name: string, example: string): string {
  const value = env[name];
  if (!value) throw new ConfigError(`${name} is not set: it must be ${example}.`);
  return value;
}

function flag(env: Env, name: string, fallback: boolean): boolean {
  return oneOf(env, name, ['true', 'false'], String(fallback) as 'true' | 'false') === 'true';
}

function oneOf<T extends string, F extends T | undefined>(env: Env, name: string, allowed: T[], fallback: F): T | F {
  const value = env[name];
  if (value === undefined || value === '') return fallback;
  if (!allowed.includes(value as T)) {
    throw new ConfigError(`${name} is "${value}": it must be ${allowed.join(' or ')}, or unset.`);
  }
  return value as T;
}
