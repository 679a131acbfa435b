// Berth 0.1.0 as it was released; `npm run release:bundle` made it. Not to be edited.
var __defProp = Object.defineProperty;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __esm = (fn, res, err) => function __init() {
  if (err) throw err[0];
  try {
    return fn && (res = (0, fn[__getOwnPropNames(fn)[0]])(fn = 0)), res;
  } catch (e) {
    throw err = [e], e;
  }
};
var __export = (target, all) => {
  for (var name in all)
    __defProp(target, name, { get: all[name], enumerable: true });
};

// lib/bcrypt.ts
var bcrypt_exports = {};
__export(bcrypt_exports, {
  compare: () => compare,
  hash: () => hash
});
import { compare, hash } from "bcryptjs";
var init_bcrypt = __esm({
  "lib/bcrypt.ts"() {
    "use strict";
  }
});

// lib/log.ts
import { Logger } from "@aws-lambda-powertools/logger";
var log = new Logger({ serviceName: "berth" });

// lib/metrics.ts
import { Metrics, MetricUnit } from "@aws-lambda-powertools/metrics";
var NAMES = { namespace: "Berth" };
var metrics = new Metrics(NAMES);
var byDimensions = /* @__PURE__ */ new Map();
function count(name, dimensions = {}) {
  const key = JSON.stringify(dimensions);
  const metric = byDimensions.get(key) ?? new Metrics({ ...NAMES, defaultDimensions: dimensions });
  byDimensions.set(key, metric);
  metric.addMetric(name, MetricUnit.Count, 1);
  metric.publishStoredMetrics();
}

// lib/brokers/resolve.ts
function stepsOfDevice(sql, device) {
  return {
    device: sql`(select mqtt_broker_id from ${device})`,
    provisioningKey: sql`(
      select default_broker_id from provisioning_keys where id = (select provisioned_by_key_id from ${device}))`,
    isNew: sql`false`
  };
}
function getBrokerConfigForDevice(sql, steps) {
  if (!steps) return sql`select null::text as broker_source, null::json as broker where false`;
  return sql`
    select source as broker_source, broker from (${resolutionSteps(sql, steps)}) step
    where usable order by number limit 1`;
}
function resolutionSteps(sql, steps) {
  return sql`
    select step.number, step.source, step.broker_id,
           coalesce(b.is_active and (b.accepts_new_devices or not ${steps.isNew}), false) as usable,
           case when b.id is not null then json_build_object(
             'id', b.id, 'name', b.name, 'protocol', b.protocol, 'host', b.host, 'port', b.port,
             'use_tls', b.use_tls, 'verify_certificate', b.verify_certificate, 'client_id_prefix', b.client_id_prefix,
             'keep_alive', b.keep_alive, 'clean_session', b.clean_session, 'reconnect_period', b.reconnect_period,
             'connect_timeout', b.connect_timeout, 'ca_cert', b.ca_cert
           ) end as broker
    from (values (1, 'device', ${steps.device}::integer),
                 (2, 'provisioning_key', ${steps.provisioningKey}::integer),
                 (3, 'default', ${getDefaultBrokerConfig(sql)}::integer)) as step (number, source, broker_id)
    left join mqtt_broker_config b on b.id = step.broker_id`;
}
function getDefaultBrokerConfig(sql) {
  return sql`(select id from mqtt_broker_config where is_default)`;
}
function resolvedBroker(columns, environmentUrl) {
  if (columns.broker && columns.broker_source) {
    count("BrokerResolved", { source: columns.broker_source });
    return { source: columns.broker_source, row: columns.broker };
  }
  count("BrokerResolved", { source: environmentUrl ? "environment" : "none" });
  if (!environmentUrl) return void 0;
  log.warn("broker taken from MQTT_BROKER_URL");
  return { source: "environment", url: environmentUrl };
}
async function withBrokerLookup(environmentUrl, run) {
  try {
    return await run(true);
  } catch (error) {
    const code = String(error.code ?? "");
    if (!environmentUrl || !/^(42|XX)/.test(code)) throw error;
    log.warn("broker lookup failed", { code });
    count("BrokerLookupFailed");
    return run(false);
  }
}

// lib/config.ts
import { createSecretKey } from "node:crypto";
var ConfigError = class extends Error {
  name = "ConfigError";
};
var NotSetError = class extends ConfigError {
};
var SECRETS = [
  "BERTH_PEPPER",
  "BERTH_SEAL_KEY",
  "ADMIN_TOKEN_HASH",
  "ADMIN_READ_TOKEN_HASH",
  "BROKER_AUTH_SECRET_HASH"
];
var loaded;
var secrets = {};
function config() {
  loaded ??= settingsOf({ ...process.env, ...secrets });
  return loaded;
}
function reloadConfig() {
  loaded = void 0;
  secrets = {};
}
function secretArns() {
  return SECRETS.flatMap((name) => {
    const arn = process.env[`${name}_ARN`];
    return arn && !process.env[name] ? [[name, arn]] : [];
  });
}
function secretsTtlMs() {
  return 1e3 * (Number(process.env.SECRETS_TTL_SECONDS) || 300);
}
function useSecrets(values) {
  if (SECRETS.every((name) => values[name] === secrets[name])) return;
  loaded = settingsOf({ ...process.env, ...values });
  secrets = values;
}
function settingsOf(env) {
  const settings = {};
  for (const [name, read] of Object.entries(readersOf(env))) {
    let get = read;
    try {
      const value = read();
      get = () => value;
    } catch (error) {
      if (!(error instanceof NotSetError)) throw error;
    }
    Object.defineProperty(settings, name, { get, enumerable: true });
  }
  return Object.freeze(settings);
}
function readersOf(env) {
  const adminAuth = () => oneOf(env, "ADMIN_AUTH", ["token", "jwt", "none"], void 0);
  const tokenHashes = (name) => adminAuth() === "token" ? readTokenHashes(env, name) : [];
  return {
    database: () => readDatabase(env),
    databaseCa: () => env.DATABASE_CA || void 0,
    databasePrepare: () => flag(env, "DATABASE_PREPARE", true),
    databaseAppUser: () => env.DATABASE_APP_USER || void 0,
    peppers: () => readPeppers(required(env, "BERTH_PEPPER", "at least 32 random characters")),
    sealKeys: () => readSealKeys(env.BERTH_SEAL_KEY),
    isLocalStack: () => env.BERTH_STAGE === "local",
    mqttBrokerUrl: () => readBrokerUrl(env.MQTT_BROKER_URL),
    mqttPasswordHash: () => oneOf(env, "MQTT_PASSWORD_HASH", ["pbkdf2", "bcrypt"], "pbkdf2"),
    autoAssignBroker: () => flag(env, "AUTO_ASSIGN_BROKER", false),
    keepLegacyHashes: () => oneOf(env, "LEGACY_HASHES", ["upgrade", "keep"], "upgrade") === "keep",
    adminAuth,
    adminTokenHashes: () => tokenHashes("ADMIN_TOKEN_HASH"),
    adminReadTokenHashes: () => env.ADMIN_READ_TOKEN_HASH ? tokenHashes("ADMIN_READ_TOKEN_HASH") : [],
    adminJwt: () => ({
      issuer: env.ADMIN_JWT_ISSUER,
      audience: env.ADMIN_JWT_AUDIENCE,
      jwksUrl: env.ADMIN_JWT_JWKS_URL || void 0
    }),
    brokerSecretHash: () => env.BROKER_AUTH_SECRET_HASH
  };
}
function readDatabase(env) {
  const isIam = oneOf(env, "DATABASE_AUTH", ["iam"], void 0) !== void 0;
  const secretArn = env.DATABASE_SECRET_ARN;
  if (env.DATABASE_URL || !(secretArn || isIam)) return { by: "url", url: readDatabaseUrl(env) };
  const host = env.DATABASE_HOST;
  const port = env.DATABASE_PORT || "5432";
  const name = env.DATABASE_NAME || "berth";
  if (secretArn) return { by: "secret", secretArn, host, port, name };
  const needed = (name2) => required(env, name2, "there with DATABASE_AUTH=iam");
  const aws = {
    region: needed("AWS_REGION"),
    accessKeyId: needed("AWS_ACCESS_KEY_ID"),
    secretAccessKey: needed("AWS_SECRET_ACCESS_KEY"),
    sessionToken: env.AWS_SESSION_TOKEN
  };
  return { by: "iam", user: needed("DATABASE_USER"), host: needed("DATABASE_HOST"), port, name, aws };
}
function readDatabaseUrl(env) {
  const form = "postgres://user:password@host:5432/database";
  const value = required(env, "DATABASE_URL", form);
  if (!/^postgres(ql)?:\/\//.test(value) || !URL.canParse(value)) {
    throw new ConfigError(`DATABASE_URL must look like ${form}; percent-encode special characters of the password.`);
  }
  if (new URL(value).hostname.includes(",")) {
    throw new ConfigError("DATABASE_URL names several hosts: give it one, a name that follows the primary.");
  }
  return value;
}
var GENERATION = /^\s*(?:([A-Za-z0-9]{1,16}):)?(.*?)\s*$/;
function readPeppers(value) {
  const peppers = value.split(",").map((part, index, all) => {
    const [, generation, secret] = GENERATION.exec(part) ?? [];
    if (!secret || secret.length < 32) {
      throw new ConfigError(
        "BERTH_PEPPER is too short: use at least 32 random characters, e.g. `openssl rand -hex 32`."
      );
    }
    if (!generation && all.length > 1) {
      throw new ConfigError(
        "BERTH_PEPPER with several secrets needs a generation before each: `2:new,1:old`, current first."
      );
    }
    return { generation: generation ?? String(index + 1), key: createSecretKey(secret, "utf8") };
  });
  if (new Set(peppers.map(({ generation }) => generation)).size < peppers.length) {
    throw new ConfigError("BERTH_PEPPER names one generation twice.");
  }
  return peppers;
}
function readSealKeys(value) {
  const keys2 = (value ? value.split(",") : []).map((part) => {
    const [, generation = "1", text2 = ""] = GENERATION.exec(part) ?? [];
    return { generation, key: Buffer.from(text2, /^[0-9a-f]{64}$/i.test(text2) ? "hex" : "base64") };
  });
  if (keys2.some(({ key }) => key.length !== 32) || new Set(keys2.map((one) => one.generation)).size < keys2.length) {
    throw new ConfigError(
      "BERTH_SEAL_KEY must be 32 bytes in base64 or hex (`openssl rand -base64 32`), or several: `2:new,1:old`."
    );
  }
  return keys2;
}
function readTokenHashes(env, name) {
  const hashes = required(env, name, "the SHA-256 of the admin token in hex").toLowerCase().split(/\s*,\s*/);
  if (!hashes.every((hash2) => /^[0-9a-f]{64}$/.test(hash2))) {
    throw new ConfigError(`${name} must be 64 hex digits: \`printf %s "$TOKEN" | sha256sum\`.`);
  }
  return hashes;
}
function readBrokerUrl(value) {
  if (!value) return void 0;
  if (!/^(mqtts?|wss?):\/\/[^\s/]+/.test(value) || !URL.canParse(value)) {
    throw new ConfigError("MQTT_BROKER_URL must look like mqtt://host:1883 (mqtt, mqtts, ws or wss).");
  }
  return value;
}
function required(env, name, example) {
  const value = env[name];
  if (!value) throw new NotSetError(`${name} is not set: it must be ${example}.`);
  return value;
}
function flag(env, name, fallback) {
  return oneOf(env, name, ["true", "false"], String(fallback)) === "true";
}
function oneOf(env, name, allowed, fallback) {
  const value = env[name];
  if (value === void 0 || value === "") return fallback;
  if (!allowed.includes(value)) {
    throw new ConfigError(`${name} is "${value}": it must be ${allowed.join(" or ")}, or unset.`);
  }
  return value;
}

// lib/db.ts
import { connect } from "node:net";
import postgres from "postgres";

// lib/database-login.ts
import { readFileSync } from "node:fs";

// lib/database-token.ts
import { createHmac as createHmac2 } from "node:crypto";

// lib/secrets.ts
import {
  createHash,
  createHmac,
  createSecretKey as createSecretKey2,
  hkdfSync,
  pbkdf2,
  pbkdf2Sync,
  randomBytes,
  timingSafeEqual
} from "node:crypto";
import { promisify } from "node:util";
var pbkdf2Async = promisify(pbkdf2);
var BCRYPT_MAX_BYTES = 72;
var LEGACY_BCRYPT_COST = 10;
var PBKDF2 = { digest: "sha512", iterations: 100, saltBytes: 12, keyBytes: 64 };
function hmac(pepper, label, secret) {
  return createHmac("sha256", pepper.key).update(label).update(secret).digest();
}
function hashSecret(pepper, label, secret) {
  return `${pepper.generation}$${hmac(pepper, label, secret).toString("base64url")}`;
}
function hashCandidates(peppers, label, secret) {
  return peppers.map((pepper) => hashSecret(pepper, label, secret));
}
function newMqttSalt(pepper) {
  return `${pepper.generation}$${randomBytes(16).toString("base64url")}`;
}
function deriveMqttPassword(peppers, deviceKey2, salt) {
  const pepper = peppers.find(({ generation }) => salt.startsWith(`${generation}$`));
  if (!pepper) return void 0;
  const input = createSecretKey2(hmac(pepper, "mqtt-password", deviceKey2));
  const key = hkdfSync("sha256", input, salt, "berth mqtt password", 32);
  return Buffer.from(key).toString("base64url");
}
async function hashMqttPassword(password, form) {
  if (form === "bcrypt") return (await Promise.resolve().then(() => (init_bcrypt(), bcrypt_exports))).hash(password, 4);
  const salt = randomBytes(PBKDF2.saltBytes);
  const key = pbkdf2Sync(password, salt, PBKDF2.iterations, PBKDF2.keyBytes, PBKDF2.digest);
  return `PBKDF2$${PBKDF2.digest}$${PBKDF2.iterations}$${salt.toString("base64")}$${key.toString("base64")}`;
}
async function hashAsLegacy(deviceKey2) {
  if (Buffer.byteLength(deviceKey2) > BCRYPT_MAX_BYTES) return void 0;
  return (await Promise.resolve().then(() => (init_bcrypt(), bcrypt_exports))).hash(deviceKey2, LEGACY_BCRYPT_COST);
}
function isBcrypt(hash2) {
  return /^\$2[aby]\$/.test(hash2);
}
async function verifyBcrypt(secret, hash2) {
  if (Buffer.byteLength(secret) > BCRYPT_MAX_BYTES) return false;
  return (await Promise.resolve().then(() => (init_bcrypt(), bcrypt_exports))).compare(secret, hash2);
}
function sameSecret(a, b) {
  const [left, right] = [a, b].map((text2) => createHash("sha256").update(text2).digest());
  return timingSafeEqual(left, right);
}
function sha256Hex(text2) {
  return createHash("sha256").update(text2).digest("hex");
}

// lib/database-token.ts
function databaseToken({ host, port, user, aws }, now = /* @__PURE__ */ new Date()) {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = [time.slice(0, 8), aws.region, "rds-db", "aws4_request"];
  const query2 = Object.entries({
    Action: "connect",
    DBUser: user,
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": [aws.accessKeyId, ...scope].join("/"),
    "X-Amz-Date": time,
    "X-Amz-Expires": "900",
    ...aws.sessionToken ? { "X-Amz-Security-Token": aws.sessionToken } : {},
    "X-Amz-SignedHeaders": "host"
  }).map(([name, value]) => `${name}=${encode(value)}`);
  const request = ["GET", "/", query2.join("&"), `host:${host}:${port}`, "", "host", sha256Hex("")].join("\n");
  const toSign = ["AWS4-HMAC-SHA256", time, scope.join("/"), sha256Hex(request)].join("\n");
  const key = scope.reduce(hmac2, `AWS4${aws.secretAccessKey}`);
  const signature = `X-Amz-Signature=${hmac2(key, toSign).toString("hex")}`;
  return `${host}:${port}/?${[...query2, signature].sort().join("&")}`;
}
function encode(text2) {
  return encodeURIComponent(text2).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
function hmac2(key, text2) {
  return createHmac2("sha256", key).update(text2).digest();
}

// lib/errors.ts
var malformedJson = {
  code: "malformed-json",
  status: 400,
  title: "Malformed JSON",
  help: "Send one JSON object (RFC 8259), UTF-8, as the request body."
};
var missingFields = {
  code: "missing-fields",
  status: 400,
  title: "Missing required fields",
  help: "Add the fields that `errors` names."
};
var invalidRequest = {
  code: "invalid-request",
  status: 400,
  title: "Invalid request",
  help: "Correct the fields that `errors` names; `message` says what each may be."
};
var missingCredentials = {
  code: "missing-credentials",
  status: 400,
  title: "Missing credentials",
  help: "Key exchange wants the device key twice: `Authorization: Bearer KEY` and `deviceApiKey` in the body."
};
var unauthorized = {
  code: "unauthorized",
  status: 401,
  title: "Unauthorized",
  help: "Send the credential as `Authorization: Bearer …`."
};
var invalidProvisioningKey = {
  code: "invalid-provisioning-key",
  status: 401,
  title: "Invalid provisioning key",
  help: "The key is not known here, or not complete. Check it, or ask for a new one."
};
var provisioningKeyExpired = {
  code: "provisioning-key-expired",
  status: 401,
  title: "Invalid provisioning key",
  help: "The key was right but its time is over. Issue a new one; devices already registered keep working."
};
var provisioningKeyRevoked = {
  code: "provisioning-key-revoked",
  status: 401,
  title: "Invalid provisioning key",
  help: "The key was right but has been revoked. Issue a new one."
};
var provisioningKeyExhausted = {
  code: "provisioning-key-exhausted",
  status: 401,
  title: "Invalid provisioning key",
  help: "As many devices as the key allows are registered. Issue a new one, or delete devices."
};
var keyMismatch = {
  code: "key-mismatch",
  status: 401,
  title: "Key mismatch",
  help: "Header and body carry different device keys."
};
var authenticationFailed = {
  code: "authentication-failed",
  status: 401,
  title: "Authentication failed",
  help: "This is not the key of this device."
};
var invalidAdminCredential = {
  code: "invalid-admin-credential",
  status: 401,
  title: "Unauthorized",
  help: "The admin credential is not valid."
};
var adminDisabled = {
  code: "admin-disabled",
  status: 403,
  title: "Forbidden",
  help: "Admin routes are closed: set ADMIN_AUTH (token, jwt, or none behind a gateway that authorises)."
};
var insufficientScope = {
  code: "insufficient-scope",
  status: 403,
  title: "Forbidden",
  help: "The credential may not do this: reading wants the scope berth:read, anything else berth:write."
};
var deviceInactive = {
  code: "device-inactive",
  status: 403,
  title: "Device inactive",
  help: "An operator has deactivated this device; only an operator can activate it again."
};
var deviceNotFound = {
  code: "device-not-found",
  status: 404,
  title: "Device not found",
  help: "No device is registered under this uuid. Register it."
};
var provisioningKeyNotFound = {
  code: "provisioning-key-not-found",
  status: 404,
  title: "Provisioning key not found",
  help: "List the keys with GET /api/v1/provisioning-keys?fleetId=…."
};
var routeNotFound = {
  code: "route-not-found",
  status: 404,
  title: "Not found",
  help: "docs/openapi.json lists every route."
};
var deviceAlreadyRegistered = {
  code: "device-already-registered",
  status: 409,
  title: "Device registration failed",
  help: "The uuid belongs to a device with another device key. Use that key, another uuid, or delete the device first."
};
var deviceInOtherFleet = {
  code: "device-in-other-fleet",
  status: 409,
  title: "Device registration failed",
  help: "The device is registered in another fleet. Use a key of that fleet, or delete the device first."
};
var bodyTooLarge = {
  code: "body-too-large",
  status: 413,
  title: "Body too large",
  help: "Send less; `detail` says how much is read."
};
var brokerNotFound = {
  code: "broker-not-found",
  status: 422,
  title: "Broker not found",
  help: "No broker has this id. GET /api/v1/mqtt/brokers lists them."
};
var tooManyRequests = {
  code: "too-many-requests",
  status: 429,
  title: "Too many requests",
  help: "Too many refused attempts from this address. Wait for Retry-After; a correct key still passes."
};
var internal = {
  code: "internal",
  status: 500,
  title: "Internal error",
  help: "Report the requestId."
};
var noBrokerAvailable = {
  code: "no-broker-available",
  status: 503,
  title: "No broker available",
  help: "No broker resolves for this device and MQTT_BROKER_URL is not set. Make a broker the default, then retry."
};
var issuerUnavailable = {
  code: "issuer-unavailable",
  status: 503,
  title: "Token issuer unavailable",
  help: "The keys of the access tokens’ issuer can’t be fetched. Repeat the request after Retry-After."
};
var keyCheckUnfinished = {
  code: "key-check-unfinished",
  status: 503,
  title: "Key check unfinished",
  help: "A legacy key is being compared with those not yet upgraded. Repeat the request after Retry-After; it goes on from there."
};
var settingsUnavailable = {
  code: "settings-unavailable",
  status: 503,
  title: "Settings unavailable",
  help: "Secrets Manager gives no answer. Repeat the same request after Retry-After."
};
var databaseUnavailable = {
  code: "database-unavailable",
  status: 503,
  title: "Database unavailable",
  help: "Nothing is known to be written. Repeat the same request after Retry-After."
};
var Problem = class extends Error {
  code;
  status;
  title;
  errors;
  retryAfterSeconds;
  extra;
  constructor(type, detail, options = {}) {
    super(detail ?? type.help, { cause: options.cause });
    this.name = "Problem";
    this.code = type.code;
    this.status = type.status;
    this.title = type.title;
    this.errors = options.errors;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.extra = options.extra ?? {};
  }
};
function passingProblem(type, cause) {
  return new Problem(type, void 0, { retryAfterSeconds: 1 + Math.floor(Math.random() * 5), cause });
}

// lib/secret-store.ts
var PATIENCE_MS = 2e3;
var RETRY_MS = 1e4;
var cache = /* @__PURE__ */ new Map();
var used;
var client;
async function loadSecrets(deadline) {
  const arns = secretArns();
  if (arns.length === 0) return;
  const values = await Promise.all(arns.map(([, arn]) => readSecret(arn, deadline)));
  try {
    useSecrets(Object.fromEntries(arns.map(([name], i) => [name, values[i]])));
    used = values;
  } catch (error) {
    if (!used) throw error;
    log.error("secret not usable", { reason: error.message });
    count("SecretNotUsable");
    for (const [i, [, arn]] of arns.entries()) cache.get(arn).value = used[i];
  }
}
async function readSecret(arn, deadline) {
  const cached = cache.get(arn);
  if (!cached) return renewSecret(arn, deadline);
  if (Date.now() < cached.lookAgainAt) return cached.value;
  return renewSecret(arn, Math.min(deadline, Date.now() + PATIENCE_MS)).catch(() => {
    cached.lookAgainAt = Date.now() + RETRY_MS;
    return cached.value;
  });
}
async function renewSecret(arn, deadline) {
  const lookAgainAt = Date.now() + secretsTtlMs();
  try {
    const value = await fetchSecret(arn, "AWSCURRENT", deadline);
    cache.set(arn, { value, lookAgainAt });
    return value;
  } catch (cause) {
    log.error("secret unavailable", { arn, reason: cause.message });
    count("SecretUnavailable");
    throw passingProblem(settingsUnavailable, cause);
  }
}
function pendingSecret(arn, deadline) {
  return fetchSecret(arn, "AWSPENDING", deadline).catch(() => void 0);
}
async function fetchSecret(arn, stage, deadline) {
  const { GetSecretValueCommand, SecretsManagerClient } = await import("@aws-sdk/client-secrets-manager");
  client ??= new SecretsManagerClient({ requestHandler: { connectionTimeout: 1e3 } });
  const command = new GetSecretValueCommand({ SecretId: arn, VersionStage: stage });
  const abortSignal = AbortSignal.timeout(Math.max(0, deadline - Date.now()));
  const value = (await client.send(command, { abortSignal })).SecretString?.trim();
  if (!value) throw new ConfigError("empty");
  return value;
}

// lib/database-login.ts
var MAX_TOKENS = 2;
async function databaseLogin(deadline) {
  const { database } = config();
  if (database.by === "url") return database.url;
  if (database.by === "iam") return urlOf({ ...database, password: databaseToken(database) });
  return secretUrl(database, await readSecret(database.secretArn, deadline));
}
async function anotherLogin(deadline, refused) {
  const { database } = config();
  if (database.by === "url") return void 0;
  if (database.by === "iam") return refused.length < MAX_TOKENS ? databaseLogin(deadline) : void 0;
  const current = secretUrl(database, await renewSecret(database.secretArn, deadline));
  if (!refused.includes(current)) return current;
  const next = await pendingSecret(database.secretArn, deadline);
  const pending = next && secretUrl(database, next);
  return pending && !refused.includes(pending) ? pending : void 0;
}
function databaseTls(url) {
  const { hostname } = new URL(url);
  if (["localhost", "127.0.0.1", "[::1]", ""].includes(hostname)) return false;
  const ca = config().databaseCa ?? rdsRoots(hostname);
  return { rejectUnauthorized: true, ...ca ? { ca } : {} };
}
function rdsRoots(hostname) {
  const [, region] = /\.([a-z0-9-]+)\.rds\.amazonaws\.com$/.exec(hostname) ?? [];
  if (!region || hostname.includes(".proxy-")) return void 0;
  try {
    return readFileSync(new URL(`../certificates/rds/${region}.pem`, import.meta.url), "utf8");
  } catch (cause) {
    throw new ConfigError(`There are no certificates for RDS in ${region}: set DATABASE_CA.`, { cause });
  }
}
function secretUrl(database, secret) {
  try {
    const { username: user, password, host = database.host, port = database.port, dbname } = JSON.parse(secret);
    if (user && password && host) return urlOf({ user, password, host, port, name: dbname ?? database.name });
  } catch {
  }
  throw new ConfigError("DATABASE_SECRET_ARN must name JSON with username, password and, without DATABASE_HOST, host.");
}
function urlOf({ user, password, host, port, name }) {
  const [login, secret, database] = [user, password, name].map(encodeURIComponent);
  const url = `postgres://${login}:${secret}@${host}:${port}/${database}`;
  if (!URL.canParse(url)) throw new ConfigError("DATABASE_HOST and DATABASE_PORT name no host and port.");
  return url;
}

// lib/db.ts
var MAX_RETRIES = 3;
var IDLE_MS = 3e4;
var PING_MS = 1e3;
var CONNECTION_LOST = /* @__PURE__ */ new Set([
  ...["ECONNRESET", "ECONNREFUSED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "EAI_AGAIN"],
  ...["CONNECTION_CLOSED", "CONNECTION_ENDED", "CONNECTION_DESTROYED", "CONNECTION_CONNECT_TIMEOUT", "CONNECT_TIMEOUT"],
  // admin shutdown, crash shutdown, cannot connect now, too many connections, read-only (a demoted primary)
  ...["57P01", "57P02", "57P03", "53300", "25006", "08000", "08003", "08006"]
]);
var ROLLED_BACK = /* @__PURE__ */ new Set(["40P01", "40001", "55P03", "57014"]);
var LOGIN_REFUSED = /* @__PURE__ */ new Set(["28000", "28P01"]);
var DeadlineError = class extends Error {
  code = "DEADLINE";
};
var ClosedError = class extends Error {
  code = "CONNECTION_CLOSED";
};
var client2;
var lastUsed = 0;
async function query(ctx, statement) {
  for (let attempt = 0; ; attempt++) {
    try {
      await wakeUp(ctx.deadline);
      return await answer(statement, ctx.deadline);
    } catch (error) {
      const code = codeOf(error);
      const lost = CONNECTION_LOST.has(code) || error instanceof DeadlineError;
      if (!lost && !ROLLED_BACK.has(code)) throw error;
      if (lost) discard();
      const pauseMs = Math.random() * 50 * 2 ** attempt;
      if (attempt === MAX_RETRIES || Date.now() + pauseMs >= ctx.deadline) throw unavailable(error);
      log.warn("database statement repeated", { code, attempt });
      count("DatabaseRetry");
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
async function closeDatabase() {
  const old = client2;
  client2 = void 0;
  await old?.sql.end({ timeout: 1 });
}
async function answer(statement, deadline, login, refused = []) {
  const used2 = client2 ?? connection(login ?? await databaseLogin(deadline));
  try {
    const rows = await answerOf(used2, statement, deadline);
    lastUsed = Date.now();
    return rows;
  } catch (error) {
    const code = codeOf(error);
    if (!LOGIN_REFUSED.has(code)) throw error;
    discard();
    const tried = [...refused, used2.login];
    log.warn("database login refused", { code, tried: tried.length });
    count("DatabaseLoginRefused");
    const other = await anotherLogin(deadline, tried);
    if (!other) throw config().database.by === "url" ? error : unavailable(error);
    return answer(statement, deadline, other, tried);
  }
}
function connection(login) {
  if (client2) return client2;
  const { databasePrepare } = config();
  const waiting = /* @__PURE__ */ new Set();
  const sql = postgres(login, {
    max: 1,
    fetch_types: false,
    prepare: databasePrepare,
    connect_timeout: 3,
    idle_timeout: 0,
    max_lifetime: 600,
    target_session_attrs: "read-write",
    ssl: databaseTls(login),
    connection: { application_name: "berth" },
    onnotice: () => {
    },
    onclose: () => {
      if (client2?.sql === sql) client2 = void 0;
      for (const reject of waiting) reject(new ClosedError("connection closed"));
    },
    // Not among its types.
    ...{ socket: openOnce() }
  });
  client2 = { sql, login, waiting };
  lastUsed = Date.now();
  return client2;
}
function openOnce() {
  let isOpened = false;
  return async ({ host: [host], port: [port] }) => {
    if (isOpened) throw new ClosedError("connection closed");
    isOpened = true;
    return Object.assign(connect(port, host), { host });
  };
}
async function wakeUp(deadline) {
  if (!client2 || Date.now() - lastUsed < IDLE_MS) return;
  try {
    await answerOf(client2, (sql) => sql`select 1`, Math.min(deadline, Date.now() + PING_MS));
  } catch {
    discard();
  }
}
function discard() {
  const old = client2;
  client2 = void 0;
  old?.sql.end({ timeout: 0 }).catch(() => {
  });
}
async function answerOf({ sql, waiting }, statement, deadline) {
  const { promise: failed, reject } = Promise.withResolvers();
  const timer = setTimeout(() => reject(new DeadlineError("deadline passed")), Math.max(0, deadline - Date.now()));
  waiting.add(reject);
  try {
    return await Promise.race([statement(sql), failed]);
  } finally {
    clearTimeout(timer);
    waiting.delete(reject);
  }
}
function unavailable(cause) {
  log.error("database unavailable", { code: codeOf(cause) });
  count("DatabaseUnavailable");
  return passingProblem(databaseUnavailable, cause);
}
function codeOf(error) {
  return String(error?.code ?? "");
}

// lib/provisioning-keys/find-legacy.ts
async function findLegacyKey(ctx, key, mayCompare) {
  const { peppers, keepLegacyHashes } = config();
  const hashes = hashCandidates(peppers, "provisioning-key", key);
  const [known] = await query(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys
                 where key_hash = any(string_to_array(${hashes.join(",")}, ',')) limit 1`
  );
  if (known) return known;
  const rows = await query(
    ctx,
    (sql) => sql`select id::text, key_hash from provisioning_keys
                 where key_hash like '$2%' and is_active and expires_at > now() at time zone 'utc'
                 order by last_used_at desc nulls last`
  );
  const keyHash = hashes[0];
  const seen = comparisonsOf(keyHash);
  const remembered = rows.find((row) => row.key_hash === seen.fit);
  if (!remembered && (rows.length === 0 || !await mayCompare())) return void 0;
  const fitting = remembered ?? await compareAll(ctx, key, seen, rows);
  if (!fitting || keepLegacyHashes) return fitting;
  await query(
    ctx,
    (sql) => sql`update provisioning_keys set key_hash = ${keyHash}
                 where id = ${fitting.id} and key_hash = ${fitting.key_hash}`
  );
  return { id: fitting.id, key_hash: keyHash };
}
var comparisons = /* @__PURE__ */ new Map();
var MAX_REMEMBERED_KEYS = 100;
var RESERVE_MS = 2e3;
function comparisonsOf(keyHmac) {
  const seen = comparisons.get(keyHmac) ?? { misses: /* @__PURE__ */ new Set() };
  if (!comparisons.has(keyHmac) && comparisons.size >= MAX_REMEMBERED_KEYS) comparisons.clear();
  comparisons.set(keyHmac, seen);
  return seen;
}
async function compareAll(ctx, key, seen, rows) {
  for (const row of rows) {
    if (seen.misses.has(row.key_hash)) continue;
    if (Date.now() > ctx.deadline - RESERVE_MS)
      throw new Problem(keyCheckUnfinished, void 0, { retryAfterSeconds: 1 });
    if (await verifyBcrypt(key, row.key_hash)) {
      seen.fit = row.key_hash;
      return row;
    }
    seen.misses.add(row.key_hash);
  }
  return void 0;
}

// lib/provisioning-keys/schema.ts
import * as z2 from "zod/mini";

// lib/schema.ts
import * as z from "zod/mini";
var MAX_INTEGER = 2147483647;
var codePoints = (text2) => {
  let length = 0;
  for (const _ of text2) length++;
  return length;
};
function text(max, description) {
  return z.string().check(
    z.refine((value) => codePoints(value) <= max, { message: `must have at most ${max} characters`, abort: true }),
    z.refine((value) => !value.includes("\0") && value.isWellFormed(), {
      message: "must not contain NUL (\\u0000) or an unpaired surrogate"
    }),
    z.meta({ description, maxLength: max })
  );
}
function requiredText(max, description) {
  return text(max, description).check(z.minLength(1, { message: "must not be empty" }));
}
function optionalText(max, description) {
  return z.pipe(
    z.optional(z.nullable(text(max, description))),
    z.transform((value) => value || void 0)
  );
}
var UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
var deviceUuid = z.pipe(
  z.string().check(
    z.regex(/^(?!(\.{1,2}|bulk-assign)$)[A-Za-z0-9._:-]{1,255}$/, {
      message: "must be 1 to 255 characters of A-Z a-z 0-9 . _ : - (an RFC 4122 uuid is best)"
    }),
    z.meta({ description: "Device identifier", examples: ["44faab1a-6b5e-4a53-8f0c-0d8c8b1e4f11", "test-123"] })
  ),
  z.transform((value) => UUID.test(value) ? value.toLowerCase() : value)
);
function rowId(description) {
  return z.int({ message: `must be a whole number from 1 to ${MAX_INTEGER}` }).check(
    z.gte(1, { message: `must be a whole number from 1 to ${MAX_INTEGER}` }),
    z.lte(MAX_INTEGER, { message: `must be a whole number from 1 to ${MAX_INTEGER}` }),
    z.meta({ description })
  );
}
var rowUuid = z.pipe(
  z.string().check(z.regex(UUID, { message: "must be the id of a provisioning key, an RFC 4122 uuid" })),
  z.transform((value) => value.toLowerCase())
);
function integerText(min, max, description) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.pipe(
    z.string().check(
      z.regex(/^\d{1,16}$/, { message, abort: true }),
      z.refine((value) => Number(value) >= min && Number(value) <= max, { message }),
      z.meta({ description })
    ),
    z.transform(Number)
  );
}
var pageQuery = {
  limit: z.optional(integerText(1, 500, "Rows a page, 100 unless said otherwise")),
  after: z.optional(integerText(0, MAX_INTEGER, "Rows after this id; `next` of the page before has it"))
};

// lib/provisioning-keys/schema.ts
var SHAPE = /^prov_([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})_[A-Za-z0-9_-]{43}$/;
var LEGACY_SHAPE = /^[0-9a-f]{64}$/i;
function shapeOf(key) {
  const id = SHAPE.exec(key)?.[1];
  if (id) return { kind: "current", id };
  return LEGACY_SHAPE.test(key) ? { kind: "legacy" } : { kind: "unknown" };
}
var fleetId = text(100, "The fleet that the key’s devices belong to").check(
  z2.minLength(1, { message: "must not be empty" })
);
var listedKey = z2.object({
  id: z2.string(),
  fleet_id: z2.string(),
  description: z2.nullable(z2.string()),
  max_devices: z2.nullable(z2.int()),
  devices_provisioned: z2.nullable(z2.int()),
  expires_at: z2.string(),
  is_active: z2.nullable(z2.boolean()),
  created_at: z2.nullable(z2.string()),
  created_by: z2.nullable(z2.string()),
  last_used_at: z2.nullable(z2.string()),
  default_broker_id: z2.nullable(z2.int())
});
var createKeyReply = z2.object({
  id: z2.string(),
  key: z2.string(),
  fleetId: z2.string(),
  maxDevices: z2.int(),
  expiresAt: z2.string(),
  description: z2.optional(z2.string()),
  default_broker_id: z2.optional(z2.int()),
  warning: z2.string()
});

// lib/brokers/url.ts
function buildBrokerUrl({ protocol, host, port }) {
  return `${protocol}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
function formatBrokerConfigForClient(row) {
  return {
    protocol: row.protocol,
    host: row.host,
    port: row.port,
    useTls: row.use_tls ?? false,
    verifyCertificate: row.verify_certificate ?? true,
    clientIdPrefix: row.client_id_prefix ?? "berth",
    keepAlive: row.keep_alive ?? 60,
    cleanSession: row.clean_session ?? true,
    reconnectPeriod: row.reconnect_period ?? 1e3,
    connectTimeout: row.connect_timeout ?? 3e4,
    ...row.ca_cert ? { caCert: row.ca_cert } : {}
  };
}

// lib/devices/mqtt-reply.ts
var USERNAME_PREFIX = "device_";
function mqttUsername(uuid) {
  return USERNAME_PREFIX + uuid;
}
function deviceTopic(username) {
  return `iot/device/${username.slice(USERNAME_PREFIX.length)}/#`;
}
function formatMqtt(username, password, broker) {
  const topics = [deviceTopic(username)];
  const environment = broker.source === "environment";
  return {
    username,
    ...password ? { password } : {},
    broker: environment ? broker.url : buildBrokerUrl(broker.row),
    ...environment ? {} : { brokerConfig: formatBrokerConfigForClient(broker.row) },
    topics: { publish: topics, subscribe: topics },
    assignment: {
      source: broker.source,
      brokerId: environment ? null : broker.row.id,
      brokerName: environment ? null : broker.row.name
    }
  };
}

// lib/devices/credentials.ts
async function newCredentials(deviceKey2) {
  const { peppers, mqttPasswordHash, keepLegacyHashes } = config();
  const salt = newMqttSalt(peppers[0]);
  const password = deriveMqttPassword(peppers, deviceKey2, salt);
  const legacyHash = keepLegacyHashes ? await hashAsLegacy(deviceKey2) : void 0;
  const keyHash = legacyHash ?? hashCandidates(peppers, "device-key", deviceKey2)[0];
  return { salt, password, passwordHash: await hashMqttPassword(password, mqttPasswordHash), keyHash };
}
function passwordOf({ mqtt_password_salt: salt }, deviceKey2) {
  return salt === null ? void 0 : deriveMqttPassword(config().peppers, deviceKey2, salt);
}
async function renewCredentials(ctx, device, deviceKey2, fresh) {
  const username = mqttUsername(device.uuid);
  const [outcome] = await query(
    ctx,
    (sql) => sql`
      with renewed as (
        update devices
        set mqtt_password_salt = ${fresh.salt}, mqtt_username = ${username}, modified_at = now() at time zone 'utc'
        where id = ${device.id} and mqtt_password_salt is not distinct from ${device.mqtt_password_salt}
        returning id, fleet_id
      ), old_user as (
        delete from mqtt_users
        where username = ${device.mqtt_username} and username <> ${username} and exists (select from renewed)
      ), mqtt_user as (
        insert into mqtt_users (username, password_hash, is_superuser, is_active, created_at, updated_at)
        select ${username}, ${fresh.passwordHash}, false, true, now() at time zone 'utc', now() at time zone 'utc' from renewed
        on conflict (username) do update
          set password_hash = excluded.password_hash, is_active = true, updated_at = excluded.updated_at
      ), old_acl as (
        delete from mqtt_acls where username in (${username}, ${device.mqtt_username}) and exists (select from renewed)
      ), acl as (
        insert into mqtt_acls (username, topic, access, priority, created_at)
        select ${username}, ${deviceTopic(username)}, 7, 0, now() at time zone 'utc' from renewed
      ), event as (
        insert into device_events (type, device_uuid, fleet_id, actor, source_ip, request_id)
        select 'credentials-renewed', ${device.uuid}, fleet_id, ${ctx.actor}, ${ctx.sourceIp}, ${ctx.requestId} from renewed
      )
      select exists (select from renewed) as renewed`
  );
  if (outcome?.renewed) return { username, password: fresh.password };
  const [won] = await query(
    ctx,
    (sql) => sql`select mqtt_password_salt from devices where id = ${device.id}`
  );
  if (!won) throw new Problem(deviceNotFound);
  const password = passwordOf(won, deviceKey2);
  return password ? { username, password } : renewCredentials(ctx, { ...device, ...won }, deviceKey2, fresh);
}

// lib/devices/refuse.ts
var LIMIT = 20;
var LIMITED = {
  [invalidProvisioningKey.code]: "address",
  [authenticationFailed.code]: "device"
};
async function refuse(ctx, problem, device) {
  count("Refused", { code: problem.code });
  const bucket = { code: problem.code, uuid: device.uuid };
  const [recent] = await query(
    ctx,
    (sql) => sql`
      with recent as (${recentRefusals(sql, ctx, bucket)}), written as (
        insert into device_events (type, device_uuid, fleet_id, actor, reason, source_ip, request_id)
        select 'refused', ${device.uuid}, ${device.fleetId ?? null}, ${ctx.actor}, ${problem.code}, ${ctx.sourceIp}, ${ctx.requestId}
        from recent where refusals < ${LIMIT}
      )
      select * from recent`
  );
  if (LIMITED[problem.code] && recent && recent.refusals >= LIMIT) throw tooMany(recent);
  throw problem;
}
async function mayCompareSlowly(ctx, bucket) {
  const [recent] = await query(ctx, (sql) => recentRefusals(sql, ctx, bucket));
  if (recent && recent.refusals >= LIMIT) throw tooMany(recent);
  return true;
}
function recentRefusals(sql, ctx, { code, uuid }) {
  const sameDevice = LIMITED[code] === "address" ? sql`` : sql`and device_uuid = ${uuid}`;
  return sql`
    select count(*)::integer as refusals,
           ceil(extract(epoch from min(at) + interval '15 minutes' - now()))::integer as retry_after
    from (
      select at from device_events
      where type = 'refused' and source_ip = ${ctx.sourceIp} and reason = ${code} ${sameDevice}
        and at > now() - interval '15 minutes'
      order by at desc
      limit ${LIMIT}
    ) latest`;
}
function tooMany({ retry_after }) {
  return new Problem(tooManyRequests, void 0, { retryAfterSeconds: Math.max(1, retry_after ?? 1) });
}

// lib/devices/verify-key.ts
async function verifyDeviceKey(ctx, key, device, { code }) {
  const stored = device.device_api_key_hash;
  if (!stored) return false;
  const hashes = hashCandidates(config().peppers, "device-key", key);
  const fits = isBcrypt(stored) ? await mayCompareSlowly(ctx, { code, uuid: device.uuid }) && await verifyBcrypt(key, stored) : hashes.map((hash2) => sameSecret(hash2, stored)).includes(true);
  const current = hashes[0];
  const stays = isBcrypt(stored) && config().keepLegacyHashes;
  if (fits && stored !== current && !stays) {
    await query(
      ctx,
      (sql) => sql`update devices set device_api_key_hash = ${current}, modified_at = now() at time zone 'utc'
                   where id = ${device.id} and device_api_key_hash = ${stored}`
    );
  }
  return fits;
}

// lib/devices/register.ts
var MAX_ATTEMPTS = 4;
async function register(ctx, input, provisioningKey2) {
  if (!provisioningKey2) {
    throw new Problem(
      unauthorized,
      "Send the provisioning key as `Authorization: Bearer KEY` or `X-Provisioning-Key: KEY`."
    );
  }
  ctx.actor = `device:${input.uuid}`;
  const settings = config();
  const { keyId, keyHashes } = await lookUpKey(ctx, input, provisioningKey2);
  const credentials = await newCredentials(input.deviceApiKey);
  const outcome = await settle(
    ctx,
    settings,
    (lookup) => (sql) => registerStatement(sql, ctx, { input, settings, keyId, keyHashes, credentials, lookup })
  );
  const { key, device, created } = outcome;
  if (!key) return refuse(ctx, new Problem(invalidProvisioningKey), { uuid: input.uuid });
  const broker = resolvedBroker(outcome, settings.mqttBrokerUrl);
  if (!device) throw await whyNot(ctx, input, key, broker);
  const login = created ? { username: mqttUsername(device.uuid), password: credentials.password } : await replay(ctx, input, key, device, credentials);
  if (!broker) throw new Problem(noBrokerAvailable);
  count(created ? "Registered" : "RegistrationReplayed");
  return { body: formatReply(input, device, login, broker), replayed: !created };
}
async function lookUpKey(ctx, { uuid }, key) {
  const shape = shapeOf(key);
  const keyHashes = hashCandidates(config().peppers, "provisioning-key", key);
  if (shape.kind === "current") return { keyId: shape.id, keyHashes };
  const { code } = invalidProvisioningKey;
  const found = shape.kind === "legacy" ? await findLegacyKey(ctx, key, () => mayCompareSlowly(ctx, { code, uuid })) : void 0;
  if (!found) return refuse(ctx, new Problem(invalidProvisioningKey), { uuid });
  return { keyId: found.id, keyHashes: isBcrypt(found.key_hash) ? [found.key_hash, ...keyHashes] : keyHashes };
}
async function settle(ctx, { mqttBrokerUrl }, statement) {
  for (let attempt = 1; ; attempt++) {
    try {
      const [outcome] = await withBrokerLookup(mqttBrokerUrl, (lookup) => query(ctx, statement(lookup)));
      const { key, device, broker } = outcome;
      const overtaken = key?.is_active && key.in_time && key.has_room && !device && (broker || mqttBrokerUrl);
      if (!overtaken || attempt === MAX_ATTEMPTS) return outcome;
    } catch (error) {
      const code = String(error.code);
      if (!["23505", "23503"].includes(code) || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}
function registerStatement(sql, ctx, { input, settings, keyId, keyHashes, credentials, lookup }) {
  const username = mqttUsername(input.uuid);
  const broker = getBrokerConfigForDevice(
    sql,
    lookup ? {
      device: sql`(select mqtt_broker_id from existing)`,
      provisioningKey: sql`(
            select default_broker_id from provisioning_keys
            where id = coalesce((select provisioned_by_key_id from existing), (select id from key)))`,
      isNew: sql`not exists (select from existing)`
    } : void 0
  );
  return sql`
    with key as (
      select id, fleet_id, is_active, expires_at > now() at time zone 'utc' as in_time,
             coalesce(devices_provisioned, 0) < max_devices as has_room
      from provisioning_keys
      where id = ${keyId} and key_hash = any(string_to_array(${keyHashes.join(",")}, ','))
    ), existing as (
      select * from devices where uuid = berth_uuid(${input.uuid})
    ), broker as (
      ${broker}
    ), free as materialized (
      select id, fleet_id from key
      where is_active and in_time and has_room and not exists (select from existing)
        and (exists (select from broker) or ${settings.mqttBrokerUrl !== void 0})
    ), claim as (
      select id, fleet_id from free where berth_claim_place(id, ${keyHashes[0]})
    ), device as (
      insert into devices (
        uuid, device_name, device_type, mac_address, os_version, supervisor_version, fleet_id, is_active,
        created_at, modified_at, provisioned_at, provisioned_by_key_id,
        device_api_key_hash, mqtt_username, mqtt_password_salt, mqtt_broker_id, mqtt_broker_assigned_at)
      select
        berth_uuid(${input.uuid}), ${input.deviceName}, ${input.deviceType}, ${input.macAddress ?? null},
        ${input.osVersion ?? null}, ${input.supervisorVersion ?? null}, claim.fleet_id, true,
        now() at time zone 'utc', now() at time zone 'utc', now() at time zone 'utc', claim.id,
        ${credentials.keyHash}, ${username}, ${credentials.salt}, assigned.id, case when assigned.id is not null then now() end
      from claim
      left join lateral (
        select (broker ->> 'id')::integer as id from broker
        where broker_source = 'provisioning_key' or ${settings.autoAssignBroker}
      ) assigned on true
      returning *
    ), mqtt_user as (
      insert into mqtt_users (username, password_hash, is_superuser, is_active, created_at, updated_at)
      select mqtt_username, ${credentials.passwordHash}, false, true, now() at time zone 'utc', now() at time zone 'utc' from device
      on conflict (username) do update
        set password_hash = excluded.password_hash, is_superuser = false, is_active = true, updated_at = excluded.updated_at
    ), leftover_acl as (
      delete from mqtt_acls where username = ${username} and exists (select from device)
    ), acl as (
      insert into mqtt_acls (username, topic, access, priority, created_at)
      select mqtt_username, ${deviceTopic(username)}, 7, 0, now() at time zone 'utc' from device
    ), event as (
      insert into device_events (type, device_uuid, fleet_id, actor, reason, to_broker_id, source_ip, request_id)
      select 'registered', ${input.uuid}, fleet_id, ${ctx.actor}, coalesce((select broker_source from broker), 'environment'),
             (select (broker ->> 'id')::integer from broker), ${ctx.sourceIp}, ${ctx.requestId}
      from device
    ), found as (
      select * from device union all select * from existing
    )
    select (select row_to_json(key) from key) as key,
           (select json_build_object(
              'id', id, 'uuid', uuid, 'device_name', device_name, 'device_type', device_type, 'fleet_id', fleet_id,
              'is_active', is_active, 'created_at', created_at at time zone 'utc', 'mqtt_username', mqtt_username,
              'mqtt_password_salt', mqtt_password_salt, 'device_api_key_hash', device_api_key_hash
            ) from found) as device,
           exists (select from device) as created,
           (select broker_source from broker) as broker_source,
           (select broker from broker) as broker`;
}
async function whyNot(ctx, { uuid }, key, broker) {
  const problem = keyProblem(key);
  if (!problem && !broker) return new Problem(noBrokerAvailable);
  return refuse(ctx, problem ?? usedUp(), { uuid, fleetId: key.fleet_id });
}
var usedUp = () => new Problem(provisioningKeyExhausted, "Provisioning key device limit exceeded");
function keyProblem(key) {
  if (!key.is_active) return new Problem(provisioningKeyRevoked, "Provisioning key has been revoked");
  if (!key.in_time) return new Problem(provisioningKeyExpired, "Provisioning key has expired");
  return key.has_room ? void 0 : usedUp();
}
async function replay(ctx, input, key, device, fresh) {
  const who = { uuid: input.uuid, fleetId: key.fleet_id };
  const no = (problem) => refuse(ctx, problem, who);
  const unusable = keyProblem(key);
  if (unusable?.code === provisioningKeyRevoked.code) return no(unusable);
  if (!await verifyDeviceKey(ctx, input.deviceApiKey, device, deviceAlreadyRegistered)) {
    return no(unusable ?? new Problem(deviceAlreadyRegistered, "This device is already registered"));
  }
  if (device.fleet_id !== null && device.fleet_id !== key.fleet_id) return no(new Problem(deviceInOtherFleet));
  if (device.is_active === false) return no(new Problem(deviceInactive));
  const password = passwordOf(device, input.deviceApiKey);
  const username = device.mqtt_username ?? mqttUsername(device.uuid);
  return password ? { username, password } : renewCredentials(ctx, device, input.deviceApiKey, fresh);
}
function formatReply({ applicationId: applicationId2 }, device, login, broker) {
  return {
    id: device.id,
    uuid: device.uuid,
    deviceName: device.device_name,
    deviceType: device.device_type,
    ...applicationId2 === void 0 || applicationId2 === null ? {} : { applicationId: applicationId2 },
    fleetId: device.fleet_id,
    createdAt: device.created_at && new Date(device.created_at).toISOString(),
    mqtt: formatMqtt(login.username, login.password, broker)
  };
}

// lib/devices/schema.ts
import * as z4 from "zod/mini";

// lib/brokers/schema.ts
import * as z3 from "zod/mini";
var BROKER_SOURCES = ["device", "provisioning_key", "default", "environment"];
var brokerConfig = z3.object({
  protocol: z3.enum(["mqtt", "mqtts", "ws", "wss"]),
  host: z3.string(),
  port: z3.int(),
  useTls: z3.boolean(),
  verifyCertificate: z3.boolean(),
  clientIdPrefix: z3.string(),
  keepAlive: z3.int().check(z3.meta({ description: "Seconds" })),
  cleanSession: z3.boolean(),
  reconnectPeriod: z3.int().check(z3.meta({ description: "Milliseconds" })),
  connectTimeout: z3.int().check(z3.meta({ description: "Milliseconds" })),
  caCert: z3.optional(z3.string().check(z3.meta({ description: "PEM; absent: the system’s CAs" }))),
  clientCert: z3.optional(z3.string().check(z3.meta({ description: "PEM" })))
});

// lib/devices/schema.ts
var applicationId = z4.optional(
  z4.nullable(
    z4.union([text(255, "Echoed in the reply"), z4.int()], {
      message: "must be a whole number, or a string of at most 255 characters without NUL or unpaired surrogates"
    })
  )
);
var registerBody = z4.object({
  uuid: deviceUuid,
  deviceName: requiredText(255, "Name for people"),
  deviceType: requiredText(100, "Kind of device"),
  deviceApiKey: requiredText(255, "The device’s own secret; made on the device, kept there"),
  applicationId,
  macAddress: optionalText(17, "Such as aa:bb:cc:dd:ee:ff"),
  osVersion: optionalText(100, "Operating system"),
  supervisorVersion: optionalText(100, "Version of the agent")
});
var deviceParams = z4.object({ uuid: deviceUuid });
var mqttReply = z4.object({
  username: z4.string(),
  password: z4.optional(
    z4.string().check(z4.meta({ description: "Absent for a legacy device that keeps the password it has" }))
  ),
  broker: z4.string().check(z4.meta({ description: "protocol://host:port" })),
  brokerConfig: z4.optional(brokerConfig),
  topics: z4.object({ publish: z4.array(z4.string()), subscribe: z4.array(z4.string()) }),
  assignment: z4.object({
    source: z4.enum(BROKER_SOURCES),
    brokerId: z4.nullable(z4.int()),
    brokerName: z4.nullable(z4.string())
  })
});
var registerReply = z4.object({
  id: z4.int(),
  uuid: z4.string(),
  deviceName: z4.nullable(z4.string()),
  deviceType: z4.nullable(z4.string()),
  applicationId: z4.optional(z4.union([z4.string(), z4.int()])),
  fleetId: z4.nullable(z4.string()),
  createdAt: z4.nullable(z4.string().check(z4.meta({ format: "date-time" }))),
  mqtt: mqttReply
});
var deviceReply = z4.looseObject({
  id: z4.int(),
  uuid: z4.string(),
  device_name: z4.nullable(z4.string()),
  device_type: z4.nullable(z4.string()),
  fleet_id: z4.nullable(z4.string()),
  is_active: z4.nullable(z4.boolean()),
  mqtt_broker_id: z4.nullable(z4.int()),
  mqtt_broker_assigned_at: z4.nullable(z4.string()),
  mqtt_username: z4.nullable(z4.string()),
  created_at: z4.nullable(z4.string()),
  modified_at: z4.nullable(z4.string())
});
var resolvedBrokerReply = z4.nullable(
  z4.object({
    source: z4.enum(BROKER_SOURCES),
    id: z4.nullable(z4.int()),
    name: z4.nullable(z4.string()),
    url: z4.string()
  })
);
var explainedStep = z4.object({
  step: z4.int(),
  source: z4.enum(BROKER_SOURCES),
  broker_id: z4.nullable(z4.int()),
  outcome: z4.enum(["taken", "skipped", "not reached"]),
  why: z4.string()
});
var deviceEvent = z4.object({
  id: z4.int(),
  at: z4.string(),
  type: z4.string(),
  actor: z4.nullable(z4.string()),
  reason: z4.nullable(z4.string()),
  from_broker_id: z4.nullable(z4.int()),
  to_broker_id: z4.nullable(z4.int()),
  source_ip: z4.nullable(z4.string()),
  request_id: z4.nullable(z4.string())
});

// lib/http/auth.ts
var provisioningKey = {
  name: "provisioning-key",
  header: "x-provisioning-key",
  problems: [unauthorized]
};
var deviceKey = { name: "device-key", header: "x-device-api-key", problems: [unauthorized] };
function credentialOf(event, keyHeader) {
  const own = keyHeader && event.headers[keyHeader]?.trim();
  if (own) return own;
  const header = event.headers.authorization?.trim();
  if (!header) return void 0;
  if (/,\s*(bearer|basic)\s/i.test(header)) {
    throw new Problem(unauthorized, "There are two Authorization headers; send one, `Authorization: Bearer KEY`.");
  }
  const [, scheme, rest] = /^(\S+)\s+(.+)$/.exec(header) ?? [];
  if (scheme === void 0 || rest === void 0) return /^(bearer|basic)$/i.test(header) ? void 0 : header;
  if (scheme.toLowerCase() !== "bearer") {
    throw new Problem(unauthorized, `Authorization scheme "${scheme}" is not known here; send Bearer.`);
  }
  return rest.trim();
}

// lib/http/body.ts
var MAX_BYTES = 16 * 1024;
function parseBody(event, maxBytes = MAX_BYTES) {
  const raw = event.body ?? "";
  const bytes = event.isBase64Encoded ? Math.floor(raw.length * 3 / 4) - 2 : Buffer.byteLength(raw);
  if (bytes > maxBytes) {
    throw new Problem(bodyTooLarge, `The body has ${bytes} bytes; at most ${maxBytes} are read.`);
  }
  const text2 = event.isBase64Encoded ? Buffer.from(raw, "base64").toString("utf8") : raw;
  if (text2.trim() === "") return void 0;
  try {
    return JSON.parse(text2);
  } catch (cause) {
    if (isForm(event) && !/^\s*[[{"]/.test(text2)) return Object.fromEntries(new URLSearchParams(text2));
    throw new Problem(malformedJson, `The body is not JSON: ${cause.message.replace(/, ".*$/s, "")}.`);
  }
}
function isForm(event) {
  return (event.headers["content-type"] ?? "").toLowerCase().startsWith("application/x-www-form-urlencoded");
}

// lib/http/problem.ts
function toProblem(error) {
  if (error instanceof Problem) return error;
  const { code, constraint_name, column_name } = error ?? {};
  if (code === "23503" && constraint_name?.includes("broker_id")) return new Problem(brokerNotFound);
  if (code === "23502" && column_name === "uuid") {
    const message = "must be an RFC 4122 uuid: the devices table of this installation holds no others";
    return new Problem(invalidRequest, `uuid ${message}.`, { errors: [{ path: "uuid", message }] });
  }
  if (typeof code === "string" && /^22...$/.test(code)) {
    return new Problem(invalidRequest, "A value is too long or of a form that cannot be stored.", { cause: error });
  }
  return new Problem(internal, "Something failed that should not; it has been logged under the requestId.", {
    cause: error
  });
}
function renderProblem(error, requestId, envelope = {}) {
  const problem = toProblem(error);
  const { title } = problem;
  if (problem.code === "internal") logUnexpected(problem.cause, requestId);
  const body = {
    ...envelope,
    type: `urn:berth:problem:${problem.code}`,
    title,
    status: problem.status,
    detail: problem.message,
    code: problem.code,
    requestId,
    ...problem.errors ? { errors: problem.errors } : {},
    ...problem.extra,
    error: title,
    message: problem.message
  };
  return {
    statusCode: problem.status,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "x-request-id": requestId,
      ...problem.status === 401 ? { "www-authenticate": "Bearer" } : {},
      ...problem.retryAfterSeconds === void 0 ? {} : { "retry-after": String(problem.retryAfterSeconds) }
    },
    body: JSON.stringify(body)
  };
}
function logUnexpected(cause, requestId) {
  if (cause instanceof ConfigError) {
    log.critical("not configured", { requestId, reason: cause.message });
    return;
  }
  const { name, code, constraint_name, stack } = cause ?? {};
  const frames = stack?.split("\n").filter((line) => line.trimStart().startsWith("at "));
  log.error("unexpected failure", { requestId, name, code, constraint: constraint_name, stack: frames });
}

// lib/http/endpoint.ts
var RESERVE_MS2 = 1500;
var BUDGET_MS = 5e3;
function endpoint(spec) {
  const handler5 = async (event, lambdaContext) => {
    const started = Date.now();
    const ctx = contextOf(event, lambdaContext, spec.budgetMs);
    const reply = await answer2(spec, ctx, event).catch(
      (error) => renderProblem(error, ctx.requestId, spec.envelope)
    );
    log.info("request", {
      requestId: ctx.requestId,
      route: `${spec.method} ${spec.path}`,
      status: reply.statusCode,
      ms: Date.now() - started
    });
    return reply;
  };
  return Object.assign(handler5, { spec });
}
function routes(...endpoints) {
  const byKey = new Map(endpoints.map((one) => [`${one.spec.method} ${one.spec.path}`, one]));
  const handler5 = async (event, context) => {
    const found = byKey.get(event.routeKey);
    if (!found) return renderProblem(new Problem(routeNotFound), context.awsRequestId);
    return found(event, context);
  };
  return Object.assign(handler5, { endpoints });
}
async function answer2(spec, ctx, event) {
  await loadSecrets(ctx.deadline);
  const { authorise, header } = spec.auth;
  if (authorise) ctx.actor = await authorise(event, spec.method === "GET" ? "read" : "write");
  const input = {
    params: parse(spec.params, event.pathParameters ?? {}),
    query: parse(spec.query, event.queryStringParameters ?? {}),
    body: spec.body && parse(spec.body, parseBody(event, spec.maxBodyBytes) ?? {}, spec.missing ?? missingFields),
    credential: authorise ? void 0 : credentialOf(event, header),
    headers: event.headers
  };
  const { status = 200, headers = {}, body, text: text2 } = await spec.run(ctx, input);
  return {
    statusCode: status,
    headers: {
      ...body ? { "content-type": "application/json" } : {},
      "cache-control": "no-store",
      "x-request-id": ctx.requestId,
      ...headers
    },
    ...body || text2 !== void 0 ? { body: text2 ?? JSON.stringify(body) } : {}
  };
}
function contextOf(event, lambdaContext, budgetMs = BUDGET_MS) {
  const remainingMs = lambdaContext.getRemainingTimeInMillis();
  return {
    requestId: lambdaContext.awsRequestId,
    sourceIp: event.requestContext.http.sourceIp,
    actor: "device",
    deadline: Date.now() + Math.min(remainingMs - RESERVE_MS2, budgetMs)
  };
}
function parse(schema, value, ifMissing = invalidRequest) {
  if (!schema) return void 0;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue) => fieldErrors(issue, value));
  const missing = errors.some(({ message }) => message === REQUIRED);
  throw new Problem(
    missing ? ifMissing : invalidRequest,
    errors.map(({ path: path2, message }) => `${path2 || "The body"} ${message}`).join("; "),
    { errors }
  );
}
var REQUIRED = "is required";
var KINDS = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object",
  array: "an array"
};
function fieldErrors(issue, root) {
  const path2 = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ path: path2 ? `${path2}.${key}` : key, message: "is not a known field" }));
  }
  const value = valueAt(root, issue.path);
  const empty = issue.code === "too_small" && value === "";
  if (path2 && ((value ?? void 0) === void 0 || empty)) return [{ path: path2, message: REQUIRED }];
  if (issue.code !== "invalid_type") return [{ path: path2, message: issue.message }];
  return [{ path: path2, message: `must be ${KINDS[issue.expected] ?? issue.expected}` }];
}
function valueAt(root, path2) {
  return path2.reduce((value, key) => value?.[key], root);
}

// functions/register.ts
var handler = endpoint({
  method: "POST",
  path: "/api/v1/device/register",
  summary: "Register a device",
  description: "Safe to repeat: the same uuid with the same device key gets the same credentials and the current broker, with `Idempotent-Replayed: true`, and uses no place on its key.",
  auth: provisioningKey,
  body: registerBody,
  replies: {
    200: {
      description: "Registered, now or before",
      body: registerReply,
      headers: { "Idempotent-Replayed": "`true` when the device was registered already" }
    }
  },
  problems: [
    invalidProvisioningKey,
    provisioningKeyExpired,
    provisioningKeyRevoked,
    provisioningKeyExhausted,
    deviceInactive,
    deviceAlreadyRegistered,
    deviceInOtherFleet,
    tooManyRequests,
    noBrokerAvailable,
    keyCheckUnfinished
  ],
  run: async (ctx, { body, credential }) => {
    const { body: reply, replayed } = await register(ctx, body, credential);
    return { body: reply, headers: replayed ? { "idempotent-replayed": "true" } : {} };
  }
});

// functions/key-exchange.ts
import * as z5 from "zod/mini";

// lib/devices/authenticate.ts
async function authenticateDevice(ctx, uuid, key) {
  ctx.actor = `device:${uuid}`;
  const [device] = await withBrokerLookup(config().mqttBrokerUrl, (lookup) => findDevice(ctx, uuid, lookup));
  if (!device) throw new Problem(deviceNotFound);
  const who = { uuid, fleetId: device.fleet_id };
  if (!await verifyDeviceKey(ctx, key, device, authenticationFailed)) {
    return refuse(ctx, new Problem(authenticationFailed), who);
  }
  if (device.is_active === false) return refuse(ctx, new Problem(deviceInactive), who);
  return device;
}
function findDevice(ctx, uuid, lookup) {
  return query(
    ctx,
    (sql) => sql`
      with device as (
        select id, uuid::text as uuid, device_name, fleet_id, is_active, device_api_key_hash, mqtt_username,
               mqtt_password_salt, mqtt_broker_id, provisioned_by_key_id
        from devices where uuid = berth_uuid(${uuid})
      ), broker as (
        ${getBrokerConfigForDevice(sql, lookup ? stepsOfDevice(sql, sql`device`) : void 0)}
      )
      select device.*, broker.broker_source, broker.broker from device left join broker on true`
  );
}

// lib/devices/key-exchange.ts
async function exchangeKey(ctx, uuid, headerKey, bodyKey) {
  if (!headerKey || !bodyKey) throw new Problem(missingCredentials);
  if (!sameSecret(headerKey, bodyKey)) throw new Problem(keyMismatch);
  const device = await authenticateDevice(ctx, uuid, bodyKey);
  return {
    status: "ok",
    message: "Key exchange successful",
    device: { id: device.id, uuid: device.uuid, deviceName: device.device_name }
  };
}

// functions/key-exchange.ts
var handler2 = endpoint({
  method: "POST",
  path: "/api/v1/device/{uuid}/key-exchange",
  summary: "Check a device key",
  description: "The device key travels twice: as `Authorization: Bearer KEY` and as `deviceApiKey`.",
  auth: deviceKey,
  params: deviceParams,
  body: z5.object({ deviceApiKey: optionalText(255, "The device key") }),
  replies: {
    200: {
      description: "The key is right",
      body: z5.object({
        status: z5.literal("ok"),
        message: z5.string(),
        device: z5.object({ id: z5.int(), uuid: z5.string(), deviceName: z5.nullable(z5.string()) })
      })
    }
  },
  problems: [missingCredentials, keyMismatch, authenticationFailed, deviceInactive, deviceNotFound, tooManyRequests],
  run: async (ctx, { params, body, credential }) => ({
    body: await exchangeKey(ctx, params.uuid, credential, body.deviceApiKey)
  })
});

// lib/devices/get-mqtt.ts
async function getMqtt(ctx, uuid, deviceKey2) {
  if (!deviceKey2)
    throw new Problem(unauthorized, "Send the device key as `Authorization: Bearer KEY` or `X-Device-API-Key: KEY`.");
  const device = await authenticateDevice(ctx, uuid, deviceKey2);
  const broker = resolvedBroker(device, config().mqttBrokerUrl);
  if (!broker) throw new Problem(noBrokerAvailable);
  const username = device.mqtt_username ?? mqttUsername(device.uuid);
  const password = passwordOf(device, deviceKey2);
  if (password || device.mqtt_password_salt === null) return formatMqtt(username, password, broker);
  const login = await renewCredentials(ctx, device, deviceKey2, await newCredentials(deviceKey2));
  return formatMqtt(login.username, login.password, broker);
}

// lib/http/etag.ts
import { createHash as createHash2 } from "node:crypto";
function etagOf(body) {
  return `"${createHash2("sha256").update(JSON.stringify(body)).digest("base64url").slice(0, 27)}"`;
}
function matches(ifNoneMatch, etag) {
  if (!ifNoneMatch) return false;
  return ifNoneMatch.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}

// functions/device-mqtt.ts
var handler3 = endpoint({
  method: "GET",
  path: "/api/v1/device/{uuid}/mqtt",
  summary: "The broker that is right now",
  description: "Poll it with `If-None-Match`: 304 while nothing has changed, else the settings to connect with.",
  auth: deviceKey,
  params: deviceParams,
  replies: {
    200: { description: "Connection settings", body: mqttReply, headers: { ETag: "Strong; changes with any setting" } },
    304: { description: "Nothing has changed", headers: { ETag: "As sent" } }
  },
  problems: [authenticationFailed, deviceInactive, deviceNotFound, tooManyRequests, noBrokerAvailable],
  run: async (ctx, { params, credential, headers }) => {
    const body = await getMqtt(ctx, params.uuid, credential);
    const etag = etagOf(body);
    return matches(headers["if-none-match"], etag) ? { status: 304, headers: { etag } } : { body, headers: { etag } };
  }
});

// functions/provisioning-keys.ts
import * as z8 from "zod/mini";

// lib/http/admin.ts
var admin = {
  name: "admin",
  problems: [unauthorized, invalidAdminCredential, adminDisabled, insufficientScope, issuerUnavailable],
  authorise: authoriseAdmin
};
async function authoriseAdmin(event, scope) {
  const { adminAuth } = config();
  if (!adminAuth) throw new Problem(adminDisabled);
  if (adminAuth === "none") return gatewaysAdmin(event);
  const token = credentialOf(event);
  if (!token) throw new Problem(unauthorized, "Send the admin credential as `Authorization: Bearer TOKEN`.");
  const { actor, scopes } = adminAuth === "jwt" ? await verifyJwt(token) : verifyToken(token);
  if (!scopes.includes("write") && !(scope === "read" && scopes.includes("read"))) {
    throw new Problem(insufficientScope);
  }
  return actor;
}
function gatewaysAdmin({ requestContext }) {
  const { authorizer } = requestContext;
  const sub = authorizer?.jwt?.claims?.sub;
  return sub ? `admin:${sub}` : "admin";
}
function verifyToken(token) {
  const { adminTokenHashes, adminReadTokenHashes } = config();
  const hash2 = sha256Hex(token);
  const writes = adminTokenHashes.map((one) => sameSecret(hash2, one)).includes(true);
  const reads = adminReadTokenHashes.map((one) => sameSecret(hash2, one)).includes(true);
  if (!writes && !reads) throw new Problem(invalidAdminCredential);
  return writes ? { actor: "admin", scopes: ["write"] } : { actor: "admin-read", scopes: ["read"] };
}
async function verifyJwt(token) {
  const { issuer, audience, jwksUrl } = jwtSettings();
  const { createRemoteJWKSet, jwtVerify, errors } = await import("jose");
  if (keys?.url !== jwksUrl) {
    keys = { url: jwksUrl, find: createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 2e3 }) };
  }
  const algorithms = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519"
  ];
  try {
    const { payload } = await jwtVerify(token, keys.find, { issuer, audience, algorithms, requiredClaims: ["exp"] });
    const granted = [payload.scope, payload.scp, payload.permissions].flat().join(" ").split(" ");
    return {
      actor: `admin:${payload.sub ?? "unknown"}`,
      scopes: ["read", "write"].filter((scope) => granted.includes(`berth:${scope}`))
    };
  } catch (cause) {
    if (cause instanceof errors.JWTExpired) {
      throw new Problem(invalidAdminCredential, "The access token has expired; get a new one.", { cause });
    }
    const unreachable = cause instanceof errors.JWKSTimeout || !(cause instanceof errors.JOSEError);
    if (unreachable) throw new Problem(issuerUnavailable, void 0, { retryAfterSeconds: 5, cause });
    throw new Problem(invalidAdminCredential, void 0, { cause });
  }
}
var keys;
function jwtSettings() {
  const { issuer, audience, jwksUrl = `${issuer?.replace(/\/$/, "")}/.well-known/jwks.json` } = config().adminJwt;
  if (!issuer)
    throw new ConfigError("ADMIN_JWT_ISSUER must be the `iss` of the tokens, e.g. https://login.example.com/");
  if (!audience) throw new ConfigError("ADMIN_JWT_AUDIENCE must be the `aud` of the tokens, e.g. berth.");
  if (!/^https?:\/\//.test(jwksUrl) || !URL.canParse(jwksUrl)) {
    throw new ConfigError("ADMIN_JWT_JWKS_URL must be the https:// address of the issuer’s key set (JWKS).");
  }
  return { issuer, audience, jwksUrl };
}

// lib/provisioning-keys/create.ts
import { randomBytes as randomBytes2, randomUUID } from "node:crypto";
import * as z6 from "zod/mini";
var wholeNumber = (min, max, description) => {
  const message = `must be a whole number from ${min} to ${max}`;
  return z6.int({ message }).check(z6.gte(min, { message }), z6.lte(max, { message }), z6.meta({ description }));
};
var createKeyBody = z6.strictObject({
  fleetId,
  maxDevices: z6._default(wholeNumber(1, 1e4, "How many devices may register with it"), 100),
  expiresInDays: z6._default(wholeNumber(1, 3650, "Days until it expires"), 365),
  description: optionalText(1e3, "For the operator"),
  default_broker_id: z6.optional(z6.nullable(rowId("The broker that its devices are assigned to")))
});
async function createProvisioningKey(ctx, input) {
  const id = randomUUID();
  const key = `prov_${id}_${randomBytes2(32).toString("base64url")}`;
  const keyHash = hashSecret(config().peppers[0], "provisioning-key", key);
  const [row] = await query(
    ctx,
    (sql) => sql`
      insert into provisioning_keys
        (id, key_hash, fleet_id, description, max_devices, devices_provisioned, expires_at, is_active,
         created_at, created_by, default_broker_id)
      values
        (${id}, ${keyHash}, ${input.fleetId}, ${input.description ?? null}, ${input.maxDevices}, 0,
         now() at time zone 'utc' + make_interval(days => ${input.expiresInDays}), true,
         now() at time zone 'utc', ${ctx.actor}, ${input.default_broker_id ?? null})
      on conflict (id) do update set id = excluded.id
      returning expires_at at time zone 'utc' as expires_at`
  );
  return {
    id,
    key,
    fleetId: input.fleetId,
    maxDevices: input.maxDevices,
    expiresAt: row?.expires_at,
    ...input.description ? { description: input.description } : {},
    ...input.default_broker_id ? { default_broker_id: input.default_broker_id } : {},
    warning: "Store this key securely - it cannot be retrieved again!"
  };
}

// lib/provisioning-keys/list.ts
async function listProvisioningKeys(ctx, fleetId2) {
  const keys2 = await query(
    ctx,
    (sql) => sql`
      select id::text, fleet_id, description, max_devices, devices_provisioned,
             expires_at at time zone 'utc' as expires_at, is_active, created_at at time zone 'utc' as created_at,
             created_by, last_used_at at time zone 'utc' as last_used_at, default_broker_id
      from provisioning_keys
      where fleet_id = ${fleetId2}
      order by provisioning_keys.created_at desc, id
      limit 1000`
  );
  return { fleet_id: fleetId2, count: keys2.length, keys: keys2 };
}

// lib/provisioning-keys/revoke.ts
import * as z7 from "zod/mini";
var revokeKeyBody = z7.strictObject({ reason: optionalText(1e3, "Why, for the record") });
async function revokeProvisioningKey(ctx, id, reason) {
  const [row] = await query(
    ctx,
    (sql) => sql`
      update provisioning_keys
      set is_active = false, revoked_at = coalesce(revoked_at, now()), revoked_reason = coalesce(${reason ?? null}, revoked_reason)
      where id = ${id}
      returning id`
  );
  if (!row) throw new Problem(provisioningKeyNotFound);
  return { status: "ok", message: "Provisioning key revoked", keyId: id, ...reason ? { reason } : {} };
}

// functions/provisioning-keys.ts
var path = "/api/v1/provisioning-keys";
var create = endpoint({
  method: "POST",
  path,
  summary: "Issue a provisioning key",
  description: "The key is in this reply and never again.",
  auth: admin,
  body: createKeyBody,
  replies: { 201: { description: "Issued", body: createKeyReply } },
  problems: [brokerNotFound],
  run: async (ctx, { body }) => ({ status: 201, body: await createProvisioningKey(ctx, body) })
});
var list = endpoint({
  method: "GET",
  path,
  summary: "List a fleet’s provisioning keys",
  auth: admin,
  query: z8.object({ fleetId }),
  replies: {
    200: {
      description: "Newest first",
      body: z8.object({ fleet_id: z8.string(), count: z8.int(), keys: z8.array(listedKey) })
    }
  },
  run: async (ctx, { query: query2 }) => ({ body: await listProvisioningKeys(ctx, query2.fleetId) })
});
var revoke = endpoint({
  method: "DELETE",
  path: `${path}/{id}`,
  summary: "Revoke a provisioning key",
  auth: admin,
  params: z8.object({ id: rowUuid }),
  body: revokeKeyBody,
  replies: {
    200: {
      description: "Revoked, now or before",
      body: z8.object({
        status: z8.literal("ok"),
        message: z8.string(),
        keyId: z8.string(),
        reason: z8.optional(z8.string())
      })
    }
  },
  problems: [provisioningKeyNotFound],
  run: async (ctx, { params, body }) => ({ body: await revokeProvisioningKey(ctx, params.id, body.reason) })
});
var handler4 = routes(create, list, revoke);

// release.ts
var release = {
  "version": "0.1.0",
  "migrations": {
    "0001_legacy-tables": "b80107534eca41b4232c7e4178aaad6e43b5efd660331876e026b5d6200966ae",
    "0002_berth": "fcdc2a15c57dea947216b89c774d396eee2c17445977621a6113688d0a1a864b",
    "0003_brokers": "a4b1bd2d1015f37fb6a089ba132d4ce3172f2f1136d73633afda1cb851fbd9a8",
    "0004_bulk-assign": "d3224ef6961baa35bfbce725dbe1a3c9282347bafa4094e111109f3f6028e5d3",
    "0005_events-by-device-id": "36ee2db5bc696d68f7eaeb806e89720a07426660dca777b3a0b32b6c8e7995dc",
    "0006_claim-place": "d43a873faa114525f57499283a9f2866d4354373cbdcf217057b2693e76ae7c2"
  }
};
export {
  closeDatabase,
  handler3 as deviceMqtt,
  handler2 as keyExchange,
  handler4 as provisioningKeys,
  handler as register,
  release,
  reloadConfig
};
