import * as z from 'zod/mini';
import { integerText, MAX_INTEGER, text } from '../fields.ts';

/** A username of mqtt_users may have as many characters. */
const USERNAME = 300;
/** An MQTT string has at most 65,535 bytes. */
const STRING = 65_535;

/**
 * A member of a broker's question. One that is not a string, too long or not storable counts as missing,
 * and what is missing is refused: some brokers take a 400 for leave.
 */
const asked = (max: number, description: string) => z.catch(z.optional(text(max, description)), undefined);

const username = asked(USERNAME, 'The MQTT username');
/** Told apart by these members, so whatever they hold. */
const clientid = z
  .optional(z.unknown())
  .check(z.meta({ description: 'mosquitto-go-auth: the client id; a refusal is a 403 then' }));

export const brokerQuery = z.object({
  broker: z.optional(integerText(1, MAX_INTEGER, 'The id of the broker that asks: devices of others are refused')),
});

export const userQuestion = z.object({
  username,
  password: asked(STRING, 'The MQTT password'),
  clientid,
  client_id: asked(STRING, 'RabbitMQ: the client id'),
});
export type UserQuestion = z.output<typeof userQuestion>;

export const vhostQuestion = z.object({ username });
export type VhostQuestion = z.output<typeof vhostQuestion>;

export const resourceQuestion = z.object({
  username,
  resource: asked(STRING, '`queue` or `exchange`'),
  name: asked(STRING, 'Its name'),
  permission: asked(STRING, '`configure`, `write` or `read`'),
});
export type ResourceQuestion = z.output<typeof resourceQuestion>;

export const topicQuestion = z.object({
  username,
  name: asked(STRING, 'The exchange'),
  permission: asked(STRING, '`write`, or `read` to subscribe'),
  routing_key: asked(STRING, 'The topic or filter as RabbitMQ spells it, `.` for `/` and `*` for `+`'),
});
export type TopicQuestion = z.output<typeof topicQuestion>;

export const aclQuestion = z.object({
  username,
  topic: asked(STRING, 'The topic, or the filter to subscribe to'),
  action: asked(STRING, 'EMQX: `publish` or `subscribe`'),
  acc: z
    .optional(z.unknown())
    .check(z.meta({ description: 'mosquitto-go-auth: 1 read, 2 write, 4 subscribe; a refusal is a 403 then' })),
  clientid,
});
export type AclQuestion = z.output<typeof aclQuestion>;

/** The answer to a question in JSON, with the spelling of EMQX and that of mosquitto-go-auth. */
export const answerReply = z.object({
  result: z.enum(['allow', 'deny']),
  is_superuser: z.literal(false),
  Ok: z.boolean(),
  Error: z.string().check(z.meta({ description: 'Why not' })),
});
