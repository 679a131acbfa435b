import { mqttAccessRefused, Problem } from '../errors.ts';
import type { Reply } from './endpoint.ts';

/**
 * A yes or no to a broker, in the form it asked in: a form gets text (RabbitMQ), JSON gets JSON (EMQX,
 * mosquitto-go-auth). A no is a 200 too: EMQX would take any other status for "ask the next", and in
 * the end for yes.
 *
 * mosquitto-go-auth unless told otherwise reads the status alone, so its no (it is known by `clientid` or
 * `acc`) is a 403.
 *
 * @param refusal why not; undefined: yes
 * @throws Problem `mqtt-access-refused`
 */
export function verdict(
  headers: Readonly<Record<string, string | undefined>>,
  question: { clientid?: unknown; acc?: unknown },
  refusal: string | undefined,
): Reply {
  const result = refusal === undefined ? 'allow' : 'deny';
  const readsStatus = question.clientid !== undefined || question.acc !== undefined;
  if (refusal !== undefined && readsStatus) throw new Problem(mqttAccessRefused, `Refused: ${refusal}.`);
  if (isForm(headers)) return { text: result, headers: { 'content-type': 'text/plain' } };
  return { body: { result, is_superuser: false, Ok: refusal === undefined, Error: refusal ?? '' } };
}

function isForm(headers: Readonly<Record<string, string | undefined>>): boolean {
  return (headers['content-type'] ?? '').toLowerCase().startsWith('application/x-www-form-urlencoded');
}
