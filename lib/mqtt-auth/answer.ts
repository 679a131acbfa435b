import * as z from 'zod/mini';
import { mqttAccessRefused, Problem } from '../errors.ts';

/** The JSON answer. It has the fields that EMQX reads and those that mosquitto-go-auth reads. */
export const answerReply = z.object({
  result: z.enum(['allow', 'deny']),
  is_superuser: z.literal(false),
  Ok: z.boolean(),
  Error: z.string().check(z.meta({ description: 'Why not' })),
});

/**
 * The answer to a broker. RabbitMQ sends a form and reads text; EMQX and mosquitto-go-auth read JSON. A refusal is an
 * answer too: on an error status EMQX asks its next authenticator, and allows access when there is none.
 *
 * mosquitto-go-auth reads only the status by default, so its refusals are a Problem. Only its questions have `clientid`
 * or `acc`.
 *
 * @param refusal why access is refused; undefined: it is allowed
 * @throws Problem `mqtt-access-refused`
 */
export function answer(
  isForm: boolean,
  question: { clientid?: unknown; acc?: unknown },
  refusal: string | undefined,
): { text: string } | { body: z.output<typeof answerReply> } {
  const readsStatus = question.clientid !== undefined || question.acc !== undefined;
  if (refusal !== undefined && readsStatus) throw new Problem(mqttAccessRefused, `Refused: ${refusal}.`);
  const result = refusal === undefined ? 'allow' : 'deny';
  if (isForm) return { text: result };
  return { body: { result, is_superuser: false, Ok: refusal === undefined, Error: refusal ?? '' } };
}
