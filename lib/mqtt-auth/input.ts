import * as z from 'zod/mini';
import { integerText, MAX_INTEGER, text } from '../fields.ts';

/** Length of `mqtt_users.username` in characters. */
const MAX_USERNAME = 300;
/** Length of an MQTT string in bytes. */
const MAX_STRING = 65_535;

/**
 * A member of a broker's question. An invalid one counts as missing, and the answer is then a refusal, not a 400: some
 * brokers allow access on a 400.
 */
const asked = (max: number, description: string) => z.catch(z.optional(text(max, description)), undefined);

const username = asked(MAX_USERNAME, 'The MQTT username');
/** A client id. Any value passes here: an invalid one must not count as missing, because it is compared only if present. */
const askedClientId = (description: string) => z.optional(z.unknown()).check(z.meta({ description }));
const clientid = askedClientId('mosquitto-go-auth: the client id. With it a refusal is a 403');

export const brokerQuery = z.object({
  broker: z.optional(
    integerText(1, MAX_INTEGER, 'The id of the broker that asks. Devices of other brokers are refused'),
  ),
});

export const userQuestion = z.object({
  username,
  password: asked(MAX_STRING, 'The MQTT password'),
  clientid,
  client_id: askedClientId('RabbitMQ, EMQX: the client id'),
});
export type UserQuestion = z.output<typeof userQuestion>;

export const vhostQuestion = z.object({ username });
export type VhostQuestion = z.output<typeof vhostQuestion>;

export const resourceQuestion = z.object({
  username,
  resource: asked(MAX_STRING, '`queue` or `exchange`'),
  name: asked(MAX_STRING, 'Its name'),
  permission: asked(MAX_STRING, '`configure`, `write` or `read`'),
});
export type ResourceQuestion = z.output<typeof resourceQuestion>;

export const topicQuestion = z.object({
  username,
  name: asked(MAX_STRING, 'The exchange'),
  permission: asked(MAX_STRING, '`write`, or `read` to subscribe'),
  routing_key: asked(MAX_STRING, 'The topic or filter in AMQP notation, `.` for `/` and `*` for `+`'),
});
export type TopicQuestion = z.output<typeof topicQuestion>;

export const aclQuestion = z.object({
  username,
  topic: asked(MAX_STRING, 'The topic, or the filter to subscribe to'),
  action: asked(MAX_STRING, 'EMQX: `publish` or `subscribe`'),
  acc: z
    .optional(z.unknown())
    .check(z.meta({ description: 'mosquitto-go-auth: 1 read, 2 write, 4 subscribe. With it a refusal is a 403' })),
  clientid,
});
export type AclQuestion = z.output<typeof aclQuestion>;
