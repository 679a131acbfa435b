/**
 * Every problem a client can be told about, in one place: `code` → HTTP status, title, what to do.
 * Clients switch on `code`; titles are the legacy service's `error` texts where it had one.
 * docs/errors.md is generated from this table.
 */
export const PROBLEMS = {
  'malformed-json': {
    status: 400,
    title: 'Malformed JSON',
    help: 'Send one JSON object (RFC 8259), UTF-8, as the request body.',
  },
  'missing-fields': {
    status: 400,
    title: 'Missing required fields',
    help: 'Add the fields that `errors` names.',
  },
  'nothing-to-update': {
    status: 400,
    title: 'No fields to update',
    help: 'Name at least one field to change.',
  },
  'invalid-request': {
    status: 400,
    title: 'Invalid request',
    help: 'Correct the fields that `errors` names; `message` says what each may be.',
  },
  'missing-credentials': {
    status: 400,
    title: 'Missing credentials',
    help: 'Key exchange wants the device key twice: `Authorization: Bearer KEY` and `deviceApiKey` in the body.',
  },
  unauthorized: {
    status: 401,
    title: 'Unauthorized',
    help: 'Send the credential as `Authorization: Bearer …`.',
  },
  'invalid-provisioning-key': {
    status: 401,
    title: 'Invalid provisioning key',
    help: 'The key is not known here, or not complete. Check it, or ask for a new one.',
  },
  'provisioning-key-expired': {
    status: 401,
    title: 'Invalid provisioning key',
    help: 'The key was right but its time is over. Issue a new one; devices already registered keep working.',
  },
  'provisioning-key-revoked': {
    status: 401,
    title: 'Invalid provisioning key',
    help: 'The key was right but has been revoked. Issue a new one.',
  },
  'provisioning-key-exhausted': {
    status: 401,
    title: 'Invalid provisioning key',
    help: 'As many devices as the key allows are registered. Issue a new one, or delete devices.',
  },
  'key-mismatch': {
    status: 401,
    title: 'Key mismatch',
    help: 'Header and body carry different device keys.',
  },
  'authentication-failed': {
    status: 401,
    title: 'Authentication failed',
    help: 'This is not the key of this device.',
  },
  'invalid-admin-credential': {
    status: 401,
    title: 'Unauthorized',
    help: 'The admin credential is not valid.',
  },
  'admin-disabled': {
    status: 403,
    title: 'Forbidden',
    help: 'Admin routes are closed: set ADMIN_AUTH (token, jwt, or none behind a gateway that authorises).',
  },
  'insufficient-scope': {
    status: 403,
    title: 'Forbidden',
    help: 'The credential may not do this: reading wants the scope berth:read, anything else berth:write.',
  },
  'device-inactive': {
    status: 403,
    title: 'Device inactive',
    help: 'An operator has deactivated this device; only an operator can activate it again.',
  },
  'device-not-found': {
    status: 404,
    title: 'Device not found',
    help: 'No device is registered under this uuid. Register it.',
  },
  'provisioning-key-not-found': {
    status: 404,
    title: 'Provisioning key not found',
    help: 'List the keys with GET /api/v1/provisioning-keys?fleetId=….',
  },
  'route-not-found': {
    status: 404,
    title: 'Not found',
    help: 'docs/openapi.json lists every route.',
  },
  'device-already-registered': {
    status: 409,
    title: 'Device registration failed',
    help: 'The uuid belongs to a device with another device key. Use that key, another uuid, or delete the device first.',
  },
  'device-in-other-fleet': {
    status: 409,
    title: 'Device registration failed',
    help: 'The device is registered in another fleet. Use a key of that fleet, or delete the device first.',
  },
  'precondition-failed': {
    status: 412,
    title: 'Precondition failed',
    help: 'The device has changed since you read it (If-Match). Read it again, then decide.',
  },
  'body-too-large': {
    status: 413,
    title: 'Body too large',
    help: 'Send less; `detail` says how much is read.',
  },
  'broker-not-found': {
    status: 422,
    title: 'Broker not found',
    help: 'No broker has this id. GET /api/v1/mqtt/brokers lists them.',
  },
  'broker-inactive': {
    status: 422,
    title: 'Broker inactive',
    help: 'The broker is not active, so devices assigned to it would resolve to another one. Activate it first.',
  },
  'broker-draining': {
    status: 422,
    title: 'Broker draining',
    help: 'The broker takes no new devices. Set its accepts_new_devices to true first, or choose another.',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests',
    help: 'Too many refused attempts from this address. Wait for Retry-After; a correct key still passes.',
  },
  internal: {
    status: 500,
    title: 'Internal error',
    help: 'Report the requestId.',
  },
  'no-broker-available': {
    status: 503,
    title: 'No broker available',
    help: 'No broker resolves for this device and MQTT_BROKER_URL is not set. Make a broker the default, then retry.',
  },
  'issuer-unavailable': {
    status: 503,
    title: 'Token issuer unavailable',
    help: 'The keys of the access tokens’ issuer can’t be fetched. Repeat the request after Retry-After.',
  },
  'key-check-unfinished': {
    status: 503,
    title: 'Key check unfinished',
    help: 'A legacy key is being compared with those not yet upgraded. Repeat the request after Retry-After; it goes on from there.',
  },
  'database-unavailable': {
    status: 503,
    title: 'Database unavailable',
    help: 'Nothing is known to be written. Repeat the same request after Retry-After.',
  },
} as const satisfies Record<string, { status: number; title: string; help: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

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
 * @param code a row of PROBLEMS; status and title follow from it
 * @param detail one sentence for a person: what is wrong and what to do. Never a secret.
 */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: FieldError[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly extra: Record<string, unknown>;

  constructor(code: ProblemCode, detail?: string, options: ProblemOptions = {}) {
    super(detail ?? PROBLEMS[code].help, { cause: options.cause });
    this.name = 'Problem';
    this.code = code;
    this.errors = options.errors;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.extra = options.extra ?? {};
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }
}
