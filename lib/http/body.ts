import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import { bodyTooLarge, malformedJson, Problem } from '../errors.ts';

const MAX_BYTES = 16 * 1024;

/**
 * Parses the body of a request as JSON, whatever the content type is: curl's `-d` sends the type of a form, and an
 * HTTP API then passes the body on base64-encoded. A body that is not JSON and has the type of a form is parsed as one.
 *
 * @param maxBytes the limit of the decoded body
 * @returns the parsed value, or undefined when there is no body
 * @throws Problem `body-too-large`, `malformed-json`
 */
export function parseBody(event: APIGatewayProxyEventV2, maxBytes = MAX_BYTES): unknown {
  const raw = event.body ?? '';
  // Measured before decoding: base64 encodes 3 bytes in 4 characters.
  const bytes = event.isBase64Encoded ? Math.floor((raw.length * 3) / 4) - 2 : Buffer.byteLength(raw);
  if (bytes > maxBytes) {
    throw new Problem(bodyTooLarge, `The body has ${bytes} bytes; the limit is ${maxBytes}.`);
  }
  const text = event.isBase64Encoded ? Buffer.from(raw, 'base64').toString('utf8') : raw;
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (isForm(event.headers) && !/^\s*[[{"]/.test(text)) return Object.fromEntries(new URLSearchParams(text));
    // V8's other messages quote the body, which contains secrets.
    const [position] = /at position \d+(?= \(line \d+ column \d+\)$)/.exec((cause as Error).message) ?? [];
    throw new Problem(malformedJson, position && `The body is not JSON: error ${position}.`);
  }
}

/** Whether a request has the content type of an HTML form. */
export function isForm(headers: Readonly<Record<string, string | undefined>>): boolean {
  return (headers['content-type'] ?? '').toLowerCase().startsWith('application/x-www-form-urlencoded');
}
