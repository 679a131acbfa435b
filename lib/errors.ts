/**
 * Every problem a client can be told about, in one place: code, HTTP status, title, what to do. Clients
 * switch on `code`; titles are the legacy service's `error` texts where it had one. Each is a constant of its
 * own, so that a function's bundle holds only those it can raise. docs/errors.md is generated from them.
 */
export const malformedJson = {
  code: 'malformed-json',
  status: 400,
  title: 'Malformed JSON',
  help: 'Send one JSON object (RFC 8259), UTF-8, as the request body.',
} as const;
export const missingFields = {
  code: 'missing-fields',
  status: 400,
  title: 'Missing required fields',
  help: 'Add the fields that `errors` names.',
} as const;
export const nothingToUpdate = {
  code: 'nothing-to-update',
  status: 400,
  title: 'No fields to update',
  help: 'Name at least one field to change.',
} as const;
export const missingBrokerFields = {
  code: 'missing-broker-fields',
  status: 400,
  title: 'Missing required fields: name, host, port',
  help: 'Add the fields that `errors` names.',
} as const;
export const invalidRequest = {
  code: 'invalid-request',
  status: 400,
  title: 'Invalid request',
  help: 'Correct the fields that `errors` names; `message` says what each may be.',
} as const;
export const missingCredentials = {
  code: 'missing-credentials',
  status: 400,
  title: 'Missing credentials',
  help: 'Key exchange wants the device key twice: `Authorization: Bearer KEY` and `deviceApiKey` in the body.',
} as const;
export const unauthorized = {
  code: 'unauthorized',
  status: 401,
  title: 'Unauthorized',
  help: 'Send the credential as `Authorization: Bearer …`.',
} as const;
export const invalidProvisioningKey = {
  code: 'invalid-provisioning-key',
  status: 401,
  title: 'Invalid provisioning key',
  help: 'The key is not known here, or not complete. Check it, or ask for a new one.',
} as const;
export const provisioningKeyExpired = {
  code: 'provisioning-key-expired',
  status: 401,
  title: 'Invalid provisioning key',
  help: 'The key was right but its time is over. Issue a new one; devices already registered keep working.',
} as const;
export const provisioningKeyRevoked = {
  code: 'provisioning-key-revoked',
  status: 401,
  title: 'Invalid provisioning key',
  help: 'The key was right but has been revoked. Issue a new one.',
} as const;
export const provisioningKeyExhausted = {
  code: 'provisioning-key-exhausted',
  status: 401,
  title: 'Invalid provisioning key',
  help: 'As many devices as the key allows are registered. Issue a new one, or delete devices.',
} as const;
export const keyMismatch = {
  code: 'key-mismatch',
  status: 401,
  title: 'Key mismatch',
  help: 'Header and body carry different device keys.',
} as const;
export const authenticationFailed = {
  code: 'authentication-failed',
  status: 401,
  title: 'Authentication failed',
  help: 'This is not the key of this device.',
} as const;
export const invalidAdminCredential = {
  code: 'invalid-admin-credential',
  status: 401,
  title: 'Unauthorized',
  help: 'The admin credential is not valid.',
} as const;
export const invalidBrokerSecret = {
  code: 'invalid-broker-secret',
  status: 401,
  title: 'Unauthorized',
  help: 'Wrong secret.',
} as const;
export const brokerAuthDisabled = {
  code: 'broker-auth-disabled',
  status: 403,
  title: 'Forbidden',
  help: 'Set BROKER_AUTH_SECRET_HASH.',
} as const;
export const mqttAccessRefused = {
  code: 'mqtt-access-refused',
  status: 403,
  title: 'Forbidden',
  help: 'See `detail`.',
} as const;
export const adminDisabled = {
  code: 'admin-disabled',
  status: 403,
  title: 'Forbidden',
  help: 'Admin routes are closed: set ADMIN_AUTH (token, jwt, or none behind a gateway that authorises).',
} as const;
export const insufficientScope = {
  code: 'insufficient-scope',
  status: 403,
  title: 'Forbidden',
  help: 'The credential may not do this: reading wants the scope berth:read, anything else berth:write.',
} as const;
export const deviceInactive = {
  code: 'device-inactive',
  status: 403,
  title: 'Device inactive',
  help: 'An operator has deactivated this device; only an operator can activate it again.',
} as const;
export const deviceNotFound = {
  code: 'device-not-found',
  status: 404,
  title: 'Device not found',
  help: 'No device is registered under this uuid. Register it.',
} as const;
export const brokerConfigNotFound = {
  code: 'broker-config-not-found',
  status: 404,
  title: 'Broker configuration not found',
  help: 'No broker has this id. GET /api/v1/mqtt/brokers lists them.',
} as const;
export const provisioningKeyNotFound = {
  code: 'provisioning-key-not-found',
  status: 404,
  title: 'Provisioning key not found',
  help: 'List the keys with GET /api/v1/provisioning-keys?fleetId=….',
} as const;
export const bulkAssignJobNotFound = {
  code: 'bulk-assign-job-not-found',
  status: 404,
  title: 'Bulk-assign job not found',
  help: 'List the jobs with GET /api/v1/devices/bulk-assign.',
} as const;
export const routeNotFound = {
  code: 'route-not-found',
  status: 404,
  title: 'Not found',
  help: 'docs/openapi.json lists every route.',
} as const;
export const deviceAlreadyRegistered = {
  code: 'device-already-registered',
  status: 409,
  title: 'Device registration failed',
  help: 'The uuid belongs to a device with another device key. Use that key, another uuid, or delete the device first.',
} as const;
export const deviceInOtherFleet = {
  code: 'device-in-other-fleet',
  status: 409,
  title: 'Device registration failed',
  help: 'The device is registered in another fleet. Use a key of that fleet, or delete the device first.',
} as const;
export const preconditionFailed = {
  code: 'precondition-failed',
  status: 412,
  title: 'Precondition failed',
  help: 'The device has changed since you read it (If-Match). Read it again, then decide.',
} as const;
export const brokerNameTaken = {
  code: 'broker-name-taken',
  status: 409,
  title: 'Broker name already exists',
  help: 'Another broker has this name. Choose another.',
} as const;
export const brokerInUse = {
  code: 'broker-in-use',
  status: 409,
  title: 'Broker is in use',
  help: 'Devices are assigned to it. Move them, or delete with ?reassign_to=ID or ?reassign_to=default.',
} as const;
export const brokerNeeded = {
  code: 'broker-needed',
  status: 409,
  title: 'Broker is needed',
  help: 'Devices would be left without a broker. Make another the default first, or repeat with ?force=true.',
} as const;
export const brokerChanging = {
  code: 'broker-changing',
  status: 409,
  title: 'Broker is being changed',
  help: 'Others are changing the brokers at the same moment. Repeat the request.',
} as const;
export const unsealingFailed = {
  code: 'unsealing-failed',
  status: 409,
  title: 'Stored secret cannot be opened',
  help: 'BERTH_SEAL_KEY lacks the key it was sealed with. Add that generation, or send the secret again.',
} as const;
export const bulkAssignJobOpen = {
  code: 'bulk-assign-job-open',
  status: 409,
  title: 'Bulk-assign job is open',
  help: 'Cancel the job first, or wait for its end.',
} as const;
export const bulkAssignJobEnded = {
  code: 'bulk-assign-job-ended',
  status: 409,
  title: 'Bulk-assign job has ended',
  help: '`state` says how. Revert it, or resume it unless it is finished.',
} as const;
export const bulkAssignJobReverted = {
  code: 'bulk-assign-job-reverted',
  status: 409,
  title: 'Bulk-assign job is reverted',
  help: '`reverted_by_job_id` did it. A revert can be reverted itself.',
} as const;
export const bodyTooLarge = {
  code: 'body-too-large',
  status: 413,
  title: 'Body too large',
  help: 'Send less; `detail` says how much is read.',
} as const;
export const brokerNotFound = {
  code: 'broker-not-found',
  status: 422,
  title: 'Broker not found',
  help: 'No broker has this id. GET /api/v1/mqtt/brokers lists them.',
} as const;
export const noDefaultBroker = {
  code: 'no-default-broker',
  status: 422,
  title: 'No default broker',
  help: 'Make a broker the default, or name one.',
} as const;
export const idempotencyKeyReused = {
  code: 'idempotency-key-reused',
  status: 422,
  title: 'Idempotency-Key reused',
  help: 'The key came with another body before. Use a new one.',
} as const;
export const brokerInactive = {
  code: 'broker-inactive',
  status: 422,
  title: 'Broker inactive',
  help: 'The broker is not active, so devices assigned to it would resolve to another one. Activate it first.',
} as const;
export const brokerDraining = {
  code: 'broker-draining',
  status: 422,
  title: 'Broker draining',
  help: 'The broker takes no new devices. Set its accepts_new_devices to true first, or choose another.',
} as const;
export const defaultBrokerInactive = {
  code: 'default-broker-inactive',
  status: 422,
  title: 'Inactive broker',
  help: 'Only an active broker can be the default. Send is_active true with it.',
} as const;
export const reassignTargetUnusable = {
  code: 'reassign-target-unusable',
  status: 422,
  title: 'Devices cannot be moved there',
  help: 'reassign_to must name another, active broker, or be `default` while there is a default broker.',
} as const;
export const sealingNotConfigured = {
  code: 'sealing-not-configured',
  status: 422,
  title: 'Sealing not configured',
  help: 'Set BERTH_SEAL_KEY (`openssl rand -base64 32`), then send password and client_key again.',
} as const;
export const brokerTestRunning = {
  code: 'broker-test-running',
  status: 429,
  title: 'A broker is being tested',
  help: 'Brokers are tested one at a time. Repeat the request after Retry-After.',
} as const;
export const tooManyRequests = {
  code: 'too-many-requests',
  status: 429,
  title: 'Too many requests',
  help: 'Too many refused attempts from this address. Wait for Retry-After; a correct key still passes.',
} as const;
export const internal = {
  code: 'internal',
  status: 500,
  title: 'Internal error',
  help: 'Report the requestId.',
} as const;
export const noBrokerAvailable = {
  code: 'no-broker-available',
  status: 503,
  title: 'No broker available',
  help: 'No broker resolves for this device and MQTT_BROKER_URL is not set. Make a broker the default, then retry.',
} as const;
export const issuerUnavailable = {
  code: 'issuer-unavailable',
  status: 503,
  title: 'Token issuer unavailable',
  help: 'The keys of the access tokens’ issuer can’t be fetched. Repeat the request after Retry-After.',
} as const;
export const keyCheckUnfinished = {
  code: 'key-check-unfinished',
  status: 503,
  title: 'Key check unfinished',
  help: 'A legacy key is being compared with those not yet upgraded. Repeat the request after Retry-After; it goes on from there.',
} as const;
export const settingsUnavailable = {
  code: 'settings-unavailable',
  status: 503,
  title: 'Settings unavailable',
  help: 'Secrets Manager gives no answer. Repeat the same request after Retry-After.',
} as const;
export const databaseUnavailable = {
  code: 'database-unavailable',
  status: 503,
  title: 'Database unavailable',
  help: 'Nothing is known to be written. Repeat the same request after Retry-After.',
} as const;

/** One of the problems above. */
export type ProblemType = { code: string; status: number; title: string; help: string };

/** One field that is wrong: `path` in dots (`filter.uuids.0`), `message` says what it may be. */
export type FieldError = { path: string; message: string };

type ProblemOptions = {
  errors?: FieldError[];
  retryAfterSeconds?: number;
  /** Further members of the body (RFC 9457 extension members), such as a count or the current state. */
  extra?: Record<string, unknown>;
  cause?: unknown;
};

/**
 * A failure the client is told about. Thrown anywhere, rendered once (lib/http/problem.ts).
 *
 * @param type one of the problems above: code, status and title are its
 * @param detail one sentence for a person: what is wrong and what to do. Never a secret.
 */
export class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly errors: FieldError[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly extra: Record<string, unknown>;

  constructor(type: ProblemType, detail?: string, options: ProblemOptions = {}) {
    super(detail ?? type.help, { cause: options.cause });
    this.name = 'Problem';
    this.code = type.code;
    this.status = type.status;
    this.title = type.title;
    this.errors = options.errors;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.extra = options.extra ?? {};
  }
}

/** A problem that passes by itself. 1–5 s, so that a fleet turned away together doesn't come back together. */
export function passingProblem(type: ProblemType, cause: unknown): Problem {
  return new Problem(type, undefined, { retryAfterSeconds: 1 + Math.floor(Math.random() * 5), cause });
}
