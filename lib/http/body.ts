import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import { bodyTooLarge, malformedJson, Problem } from '../errors.ts';

const MAX_BYTES = 16 * 1024;

/**
 * The request's body as a value. JSON whatever the content type says: curl's `-d` labels it a form, and
 * an HTTP API then hands it over base64-encoded. What isn't JSON and is labelled a form is read as a form.
 *
 * @param maxBytes the most the decoded body may have
 * @returns the parsed value, or undefined when there is no body
 * @throws Problem `body-too-large`, `malformed-json`
 */
export function parseBody(event: APIGatewayProxyEventV2, maxBytes = MAX_BYTES): unknown {
  const raw = event.body ?? '';
  // Measured before decoding: base64 has 4 characters for 3 bytes.
  const bytes = event.isBase64Encoded ? Math.floor((raw.length * 3) / 4) - 2 : Buffer.byteLength(raw);
  if (bytes > maxBytes) {
    throw new Problem(bodyTooLarge, `The body has ${bytes} bytes; at most ${maxBytes} are read.`);
  }
  const text = event.isBase64Encoded ? Buffer.from(raw, 'base64').toString('utf8') : raw;
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (isForm(event) && !/^\s*[[{"]/.test(text)) return Object.fromEntries(new URLSearchParams(text));
    throw new Problem(malformedJson, `The body is not JSON: ${(cause as Error).message.replace(/, ".*$/s, '')}.`);
  }
}

function isForm(event: APIGatewayProxyEventV2): boolean {
  return (event.headers['content-type'] ?? '').toLowerCase().startsWith('application/x-www-form-urlencoded');
}
