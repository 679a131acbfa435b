import * as z from 'zod/mini';
import { integerText, MAX_INTEGER, requiredText, text } from '../fields.ts';
import { hostProblem } from '../mqtt/address.ts';
import { settings } from '../settings/settings.ts';

/** Bytes of the largest body: certificate bundles are long. */
export const MAX_BROKER_BODY_BYTES = 256 * 1024;
const MAX_PEM = 200_000;
const MAX_EXTRA_CONFIG = 16_384;

const integer = (min: number, max: number, description: string) => {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.int({ message }).check(z.gte(min, { message }), z.lte(max, { message }), z.meta({ description }));
};
const flag = (description: string) => z.boolean().check(z.meta({ description }));

/** {@link text} that null or an empty string removes. */
const clearable = (max: number, description: string) =>
  z.pipe(
    z.optional(z.nullable(text(max, description))),
    z.transform((value) => (value === '' ? null : value)),
  );

/** A secret: null removes it; an empty string, which a form sends for "unchanged", is refused. */
const secret = (max: number, description: string) =>
  z.optional(
    z.nullable(
      text(max, description).check(
        z.refine((value) => value !== '', { message: 'must not be empty; null removes it' }),
      ),
    ),
  );

const name = requiredText(255, 'Its name, which no other broker has').check(
  z.refine((value) => value.trim() !== '', { message: 'must not be blank' }),
);
const host = requiredText(255, 'Host name, IPv4 or IPv6 address').check(
  z.superRefine((value, ctx) => {
    const message = hostProblem(value, settings().isLocalStack);
    if (message) ctx.addIssue({ code: 'custom', message });
  }),
);
const port = integer(1, 65_535, 'TCP port');

const optionalFields = {
  description: clearable(10_000, 'For the operator'),
  protocol: z.optional(
    z
      .enum(['mqtt', 'mqtts', 'ws', 'wss'], { message: 'must be mqtt, mqtts, ws or wss' })
      .check(z.meta({ description: 'mqtts and wss are over TLS' })),
  ),
  username: clearable(255, 'The MQTT user that the connection test connects as'),
  password: secret(1024, 'Its password; stored sealed, never shown'),
  use_tls: z.optional(flag('Follows from the protocol; one that contradicts it is refused')),
  ca_cert: clearable(MAX_PEM, 'The CA that signs its certificate, PEM, one or several; none: the system’s CAs'),
  client_cert: clearable(MAX_PEM, 'The certificate that the connection test shows, PEM; goes with client_key'),
  client_key: secret(MAX_PEM, 'The private key of client_cert, PEM; stored sealed, never shown'),
  verify_certificate: z.optional(flag('Whether clients check its certificate')),
  client_id_prefix: z.optional(requiredText(100, 'What MQTT client ids begin with')),
  keep_alive: z.optional(integer(1, 65_535, 'Seconds')),
  clean_session: z.optional(flag('MQTT clean session')),
  reconnect_period: z.optional(integer(100, 3_600_000, 'Milliseconds')),
  connect_timeout: z.optional(integer(1_000, 300_000, 'Milliseconds')),
  is_active: z.optional(flag('Inactive: resolution skips it')),
  is_default: z.optional(flag('The broker of every device without another; the one before stops being it')),
  broker_type: z.optional(requiredText(50, 'A label such as local, cloud or edge')),
  extra_config: z.optional(
    z.record(z.string(), z.unknown()).check(
      z.refine((value) => JSON.stringify(value).length <= MAX_EXTRA_CONFIG, {
        message: `must have at most ${MAX_EXTRA_CONFIG} characters as JSON`,
      }),
      z.meta({ description: 'Anything else, for the operator’s own tools' }),
    ),
  ),
  accepts_new_devices: z.optional(flag('false drains it: it keeps its devices and takes no new ones')),
  region: clearable(100, 'Where it is, for policies of allocation'),
  allocation_weight: z.optional(integer(1, 1000, 'Its share of new devices, for policies of allocation')),
};

export const createBrokerBody = z.strictObject({ name, host, port, ...optionalFields });
export const updateBrokerBody = z.strictObject({
  name: z.optional(name),
  host: z.optional(host),
  port: z.optional(port),
  ...optionalFields,
});
/** The fields of a create or an update, as checked. */
export type BrokerInput = z.output<typeof updateBrokerBody>;

export const brokerParams = z.object({ id: integerText(1, MAX_INTEGER, 'The broker’s id') });

const target = `must be "default" or a whole number from 1 to ${MAX_INTEGER}`;
/** Where a deleted broker's devices go: another broker, or `default`: they lose their assignment. */
export const reassignTo = z.pipe(
  z.string().check(
    z.regex(/^(default|\d{1,10})$/, { message: target, abort: true }),
    z.refine((value) => value === 'default' || (Number(value) >= 1 && Number(value) <= MAX_INTEGER), {
      message: target,
    }),
    z.meta({
      description: 'Moves its devices first: to the broker with this id, or `default`: to whichever is the default',
    }),
  ),
  z.transform((value) => (value === 'default' ? ('default' as const) : Number(value))),
);
