import * as z from 'zod/mini';
import { clearable, integerText, MAX_INTEGER, requiredText, text, wholeNumber } from '../fields.ts';
import { hostProblem } from '../mqtt/address.ts';
import { settings } from '../settings/settings.ts';

/** Certificate bundles are long. */
export const MAX_BROKER_BODY_BYTES = 256 * 1024;
const MAX_PEM = 200_000;
const MAX_EXTRA_CONFIG = 16_384;
const MAX_EXTRA_CONFIG_LEVELS = 100;

const flag = (description: string) => z.boolean().check(z.meta({ description }));

/** Whether an object has more levels of objects and arrays than `max`. */
function isDeeper(value: unknown, max: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth <= max; depth++) {
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? [one] : []));
    if (level.length === 0) return false;
    level = level.flatMap((one) => Object.values(one as object));
  }
  return true;
}

/** A secret. Null removes it. An empty string, which web forms send for "unchanged", is refused. */
const secret = (max: number, description: string) =>
  z.optional(
    z.nullable(
      text(max, description).check(
        z.refine((value) => value !== '', { message: 'must not be empty; send null to remove it' }),
        z.meta({ minLength: 1 }),
      ),
    ),
  );

const name = requiredText(255, 'Its unique name').check(
  z.refine((value) => value.trim() !== '', { message: 'must not be blank' }),
  z.meta({ pattern: '^[^\\u0000]*\\S[^\\u0000]*$' }),
);
const host = requiredText(253, 'Host name, IPv4 or IPv6 address').check(
  z.superRefine((value, ctx) => {
    const message = hostProblem(value, settings().isLocalStack);
    if (message) ctx.addIssue({ code: 'custom', message });
  }),
);
const port = wholeNumber(1, 65_535, 'TCP port');

const optionalFields = {
  description: clearable(10_000, 'For the operator'),
  protocol: z.optional(
    z
      .enum(['mqtt', 'mqtts', 'ws', 'wss'], { message: 'must be mqtt, mqtts, ws or wss' })
      .check(z.meta({ description: 'mqtts and wss use TLS' })),
  ),
  username: clearable(255, 'The MQTT user that the connection test connects as'),
  password: secret(1024, 'The password of this user; stored sealed, never returned'),
  use_tls: z.optional(flag('Follows from the protocol. A value that contradicts it is refused')),
  ca_cert: clearable(MAX_PEM, 'The CAs that sign its certificate, PEM. Default: the system’s CAs'),
  client_cert: clearable(
    MAX_PEM,
    'The client certificate of the connection test, PEM. Set it together with client_key',
  ),
  client_key: secret(MAX_PEM, 'The private key of client_cert, PEM; stored sealed, never returned'),
  verify_certificate: z.optional(flag('Whether clients verify its certificate')),
  client_id_prefix: z.optional(requiredText(100, 'The prefix of MQTT client ids')),
  keep_alive: z.optional(wholeNumber(1, 65_535, 'Seconds')),
  clean_session: z.optional(flag('MQTT clean session')),
  reconnect_period: z.optional(wholeNumber(100, 3_600_000, 'Milliseconds')),
  connect_timeout: z.optional(wholeNumber(1_000, 300_000, 'Milliseconds')),
  is_active: z.optional(flag('false: resolution skips it')),
  is_default: z.optional(flag('The broker of every device without another one. Setting it unsets the former default')),
  broker_type: z.optional(requiredText(50, 'A label such as local, cloud or edge')),
  extra_config: z.optional(
    z.record(z.string(), z.unknown()).check(
      // First, because JSON.stringify fails on a value with thousands of levels.
      z.refine((value) => !isDeeper(value, MAX_EXTRA_CONFIG_LEVELS), {
        message: `must have at most ${MAX_EXTRA_CONFIG_LEVELS} levels`,
        abort: true,
      }),
      z.refine((value) => JSON.stringify(value).length <= MAX_EXTRA_CONFIG, {
        message: `must have at most ${MAX_EXTRA_CONFIG} characters as JSON`,
      }),
      z.meta({ description: 'Anything else, for the tools of the operator: at most 16,384 characters of JSON' }),
    ),
  ),
  accepts_new_devices: z.optional(flag('false drains it: it keeps its devices and accepts no new ones')),
  region: clearable(100, 'Its location, for allocation policies'),
  allocation_weight: z.optional(wholeNumber(1, 1000, 'Its share of new devices, for allocation policies')),
};

export const createBrokerBody = z.strictObject({ name, host, port, ...optionalFields });
export const updateBrokerBody = z.strictObject({
  name: z.optional(name),
  host: z.optional(host),
  port: z.optional(port),
  ...optionalFields,
  close_former: z.optional(
    flag(
      'true: devices that no longer belong to this broker are refused here, even if they know no other one. If the broker becomes the default: at the former default',
    ),
  ),
});
/** The validated fields of a create or an update. */
export type BrokerInput = z.output<typeof updateBrokerBody>;

export const listBrokersQuery = z.object({
  limit: z.optional(integerText(1, 1000, 'Brokers per page. Default: 1000')),
  after: z.optional(text(255, 'Brokers after this name: `next` of the previous page')),
});

export const brokerParams = z.object({ id: integerText(1, MAX_INTEGER, 'The broker’s id') });

/** Where the devices of a deleted broker go: to another broker, or to the default by losing their assignment. */
export const reassignTo = z
  .union([z.literal('default'), integerText(1, MAX_INTEGER, 'The id of a broker')], {
    message: `must be "default" or a whole number from 1 to ${MAX_INTEGER}`,
  })
  .check(
    z.meta({ description: 'First moves its devices: to the broker with this id, or to whichever is the default' }),
  );
