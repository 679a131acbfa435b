/**
 * A kind of problem. Clients switch on `code`; `title` is the legacy service's `error` where it had one. `help` is what
 * the caller can do. `operatorHelp` is what only whoever runs this installation can do: it is logged, never sent.
 */
export type ProblemType = Readonly<{ code: string; status: number; title: string } & Help>;
type Help = { help: string; operatorHelp?: string };

/* @__NO_SIDE_EFFECTS__ */
function problem(status: number, code: string, title: string, help: Help): ProblemType {
  return { code, status, title, ...help };
}

// Every problem that Berth reports; docs/errors.md is generated from them. Each is a constant of its own, and a call
// without side effects, so that a function's bundle contains only the problems that it can raise.
export const malformedJson = problem(400, 'malformed-json', 'Malformed JSON', {
  help: 'Send one JSON object (RFC 8259), UTF-8, as the request body.',
});
export const missingFields = problem(400, 'missing-fields', 'Missing required fields', {
  help: 'Add the fields that `errors` names.',
});
export const nothingToUpdate = problem(400, 'nothing-to-update', 'No fields to update', {
  help: 'Name at least one field to change.',
});
export const missingBrokerFields = problem(400, 'missing-broker-fields', 'Missing required fields: name, host, port', {
  help: 'Add the fields that `errors` names.',
});
export const invalidRequest = problem(400, 'invalid-request', 'Invalid request', {
  help: 'Correct the fields that `errors` names; `message` says what each may be.',
});
export const missingCredentials = problem(400, 'missing-credentials', 'Missing credentials', {
  help: 'Send the device key twice: as `Authorization: Bearer KEY` and as `deviceApiKey` in the body.',
});
export const unauthorized = problem(401, 'unauthorized', 'Unauthorized', {
  help: 'Send the credential as `Authorization: Bearer …`.',
});
export const invalidProvisioningKey = problem(401, 'invalid-provisioning-key', 'Invalid provisioning key', {
  help: 'The key is unknown or incomplete. Check it, or ask for a new one.',
});
export const provisioningKeyExpired = problem(401, 'provisioning-key-expired', 'Invalid provisioning key', {
  help: 'The key is correct but has expired. Use a new one. Registered devices keep working.',
});
export const provisioningKeyRevoked = problem(401, 'provisioning-key-revoked', 'Invalid provisioning key', {
  help: 'The key is correct but has been revoked. Use a new one.',
});
export const provisioningKeyExhausted = problem(401, 'provisioning-key-exhausted', 'Invalid provisioning key', {
  help: 'The key has registered as many devices as it may. Use a new one, or delete devices.',
});
export const keyMismatch = problem(401, 'key-mismatch', 'Key mismatch', {
  help: 'Send the same device key in the header and in the body.',
});
export const authenticationFailed = problem(401, 'authentication-failed', 'Authentication failed', {
  help: 'This is not the key of this device.',
});
export const invalidAdminCredential = problem(401, 'invalid-admin-credential', 'Unauthorized', {
  help: 'The admin credential is not valid.',
});
export const invalidBrokerSecret = problem(401, 'invalid-broker-secret', 'Unauthorized', {
  help: 'The broker secret is not valid.',
});
export const brokerAuthDisabled = problem(403, 'broker-auth-disabled', 'Forbidden', {
  help: 'Authentication of MQTT clients is disabled in this installation.',
  operatorHelp: 'Set BROKER_AUTH_SECRET_HASH.',
});
export const mqttAccessRefused = problem(403, 'mqtt-access-refused', 'Forbidden', {
  help: 'See `detail`.',
});
export const adminDisabled = problem(403, 'admin-disabled', 'Forbidden', {
  help: 'Admin routes are disabled in this installation.',
  operatorHelp: 'Set ADMIN_AUTH: token, jwt, or none behind a gateway that authorises.',
});
export const insufficientScope = problem(403, 'insufficient-scope', 'Forbidden', {
  help: 'The credential does not allow this. GET requires the scope berth:read, every other method berth:write.',
});
export const deviceInactive = problem(403, 'device-inactive', 'Device inactive', {
  help: 'An operator has deactivated this device. Only an operator can activate it again.',
});
export const deviceNotFound = problem(404, 'device-not-found', 'Device not found', {
  help: 'No device is registered under this uuid. Register it.',
});
export const brokerConfigNotFound = problem(404, 'broker-config-not-found', 'Broker configuration not found', {
  help: 'No broker has this id. GET /api/v1/mqtt/brokers lists them.',
});
export const provisioningKeyNotFound = problem(404, 'provisioning-key-not-found', 'Provisioning key not found', {
  help: 'List the keys with GET /api/v1/provisioning-keys?fleetId=….',
});
export const bulkAssignJobNotFound = problem(404, 'bulk-assign-job-not-found', 'Bulk-assign job not found', {
  help: 'List the jobs with GET /api/v1/devices/bulk-assign.',
});
export const routeNotFound = problem(404, 'route-not-found', 'Not found', {
  help: 'docs/openapi.json lists every route.',
});
export const deviceAlreadyRegistered = problem(409, 'device-already-registered', 'Device registration failed', {
  help: 'The uuid belongs to a device with another device key. Use that key, another uuid, or delete the device first.',
});
export const deviceInOtherFleet = problem(409, 'device-in-other-fleet', 'Device registration failed', {
  help: 'The device is registered in another fleet. Use a key of that fleet, or delete the device first.',
});
export const brokerNameTaken = problem(409, 'broker-name-taken', 'Broker name already exists', {
  help: 'Another broker has this name. Choose another.',
});
export const brokerInUse = problem(409, 'broker-in-use', 'Broker is in use', {
  help: 'Devices are assigned to it. Move them, or delete with ?reassign_to=ID or ?reassign_to=default.',
});
export const brokerNeeded = problem(409, 'broker-needed', 'Broker is needed', {
  help: 'Devices would be left without a broker. Make another the default first, or repeat with ?force=true.',
});
export const brokerHasDevices = problem(409, 'broker-has-devices', 'Broker has devices', {
  help: 'Devices resolve to it, or may still use it after a move. Move them and let them follow, or repeat with ?force=true.',
});
export const brokerChanging = problem(409, 'broker-changing', 'Broker is being changed', {
  help: 'Another request is changing the brokers. Repeat the request.',
});
export const unsealingFailed = problem(409, 'unsealing-failed', 'Stored secret cannot be opened', {
  help: 'The broker’s stored password or private key cannot be read. Send it again.',
  operatorHelp: 'Add to BERTH_SEAL_KEY the generation that it was sealed with.',
});
export const bulkAssignJobOpen = problem(409, 'bulk-assign-job-open', 'Bulk-assign job is open', {
  help: 'Cancel the job first, or wait until it ends.',
});
export const bulkAssignJobEnded = problem(409, 'bulk-assign-job-ended', 'Bulk-assign job has ended', {
  help: '`state` says how. Revert it, or resume it unless it is finished.',
});
export const bulkAssignJobReverted = problem(409, 'bulk-assign-job-reverted', 'Bulk-assign job is reverted', {
  help: 'The job `reverted_by_job_id` reverted it. That job can be reverted, too.',
});
export const preconditionFailed = problem(412, 'precondition-failed', 'Precondition failed', {
  help: 'What you change has changed since you read it (If-Match). Read it again, then decide.',
});
export const bodyTooLarge = problem(413, 'body-too-large', 'Body too large', {
  help: 'Send less; `detail` states the limit.',
});
export const brokerNotFound = problem(422, 'broker-not-found', 'Broker not found', {
  help: 'No broker has this id. GET /api/v1/mqtt/brokers lists them.',
});
export const noDefaultBroker = problem(422, 'no-default-broker', 'No default broker', {
  help: 'Make a broker the default, or name one.',
});
export const idempotencyKeyReused = problem(422, 'idempotency-key-reused', 'Idempotency-Key reused', {
  help: 'An earlier request had this key and another body. Use a new key.',
});
export const brokerInactive = problem(422, 'broker-inactive', 'Broker inactive', {
  help: 'Devices assigned to this broker would resolve to another one. Activate it first.',
});
export const brokerDraining = problem(422, 'broker-draining', 'Broker draining', {
  help: 'The broker takes no new devices. Set its accepts_new_devices to true first, or choose another.',
});
export const defaultBrokerInactive = problem(422, 'default-broker-inactive', 'Inactive broker', {
  help: 'Only an active broker can be the default. Send is_active true with it.',
});
export const reassignTargetUnusable = problem(422, 'reassign-target-unusable', 'Devices cannot be moved there', {
  help: 'reassign_to must name another, active broker, or be `default` while there is a default broker.',
});
export const sealingNotConfigured = problem(422, 'sealing-not-configured', 'Sealing not configured', {
  help: 'This installation cannot store password and client_key. Send the request without them.',
  operatorHelp: 'Set BERTH_SEAL_KEY (`openssl rand -base64 32`).',
});
export const brokerTestRunning = problem(429, 'broker-test-running', 'A broker is being tested', {
  help: 'Brokers are tested one at a time. Repeat the request after Retry-After.',
});
export const tooManyRequests = problem(429, 'too-many-requests', 'Too many requests', {
  help: 'Too many refused attempts from this address. Wait for Retry-After; a correct key still passes.',
});
export const internal = problem(500, 'internal', 'Internal error', {
  help: 'Report the requestId.',
});
export const noBrokerAvailable = problem(503, 'no-broker-available', 'No broker available', {
  help: 'There is no broker for this device. Repeat the request after Retry-After.',
  operatorHelp: 'Make an active broker the default, or set MQTT_BROKER_URL.',
});
export const issuerUnavailable = problem(503, 'issuer-unavailable', 'Token issuer unavailable', {
  help: 'The keys of the token issuer cannot be fetched. Repeat the request after Retry-After.',
});
export const keyCheckUnfinished = problem(503, 'key-check-unfinished', 'Key check unfinished', {
  help: 'A legacy key is being compared with the keys that are not yet upgraded. Repeat the request after Retry-After; the comparison continues.',
});
export const settingsUnavailable = problem(503, 'settings-unavailable', 'Settings unavailable', {
  help: 'Berth cannot read its secrets. Repeat the same request after Retry-After.',
});
export const databaseUnavailable = problem(503, 'database-unavailable', 'Database unavailable', {
  help: 'Berth does not know whether anything was written. Repeat the same request after Retry-After.',
});

/** A wrong field: `path` with dots (`filter.uuids.0`), `message` says what it may be. */
export type FieldError = { path: string; message: string };

type ProblemOptions = {
  errors?: FieldError[];
  retryAfterSeconds?: number;
  /** Further members of the body (RFC 9457 extension members), such as a count or the current state. */
  extra?: Record<string, unknown>;
  cause?: unknown;
};

/**
 * A failure that is reported to the caller. Any code throws it; lib/http/problem.ts renders it.
 *
 * @param type one of the problems above
 * @param detail one sentence for a person: what is wrong and what the caller can do. Never a secret. Default: the type's help
 */
export class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly errors: FieldError[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly extra: Record<string, unknown>;
  readonly operatorHelp: string | undefined;

  constructor(type: ProblemType, detail?: string, options: ProblemOptions = {}) {
    super(detail ?? type.help, { cause: options.cause });
    this.name = 'Problem';
    this.code = type.code;
    this.status = type.status;
    this.title = type.title;
    this.errors = options.errors;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.extra = options.extra ?? {};
    this.operatorHelp = type.operatorHelp;
  }
}

/**
 * A problem that ends without the caller's help. The random part of Retry-After keeps a fleet from repeating its requests
 * simultaneously.
 *
 * @param seconds Retry-After: at least `min`, less than `min + spread`
 */
export function temporaryProblem(type: ProblemType, cause?: unknown, { min, spread } = { min: 1, spread: 5 }): Problem {
  return new Problem(type, undefined, { retryAfterSeconds: min + Math.floor(Math.random() * spread), cause });
}
