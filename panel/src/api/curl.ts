import type { Request } from './client.ts';

/**
 * The curl command of a request, to paste into a shell. The token is a variable, and so is each secret, so that neither is in the
 * history of a shell or in a ticket.
 *
 * @param origin `https://berth.example.com`
 * @param secrets members of the body that are replaced: `{ password: 'BROKER_PASSWORD' }`
 */
export function curlOf(request: Request, origin: string, secrets: Record<string, string> = {}): string {
  const { method, path, body, ifMatch, idempotencyKey } = request;
  const lines = [
    `curl ${method === 'GET' ? '' : `-X ${method} `}${quoted(`${origin}${path}`)}`,
    `-H "Authorization: Bearer $BERTH_TOKEN"`,
    ...(ifMatch ? [`-H ${quoted(`If-Match: ${ifMatch}`)}`] : []),
    ...(idempotencyKey ? [`-H ${quoted(`Idempotency-Key: ${idempotencyKey}`)}`] : []),
    ...(body ? [`-H 'Content-Type: application/json'`, `-d ${bodyOf(body, secrets)}`] : []),
  ];
  return lines.join(' \\\n  ');
}

function bodyOf(body: object, secrets: Record<string, string>): string {
  const members = Object.entries(body).map(([name, value]) => {
    const variable = typeof value === 'string' ? secrets[name] : undefined;
    // Ends the single quotes, so that the shell expands the variable.
    return `${escaped(JSON.stringify(name))}: ${variable ? `"'"$${variable}"'"` : escaped(JSON.stringify(value))}`;
  });
  return `'{${members.join(', ')}}'`;
}

/** Text within single quotes of a POSIX shell. */
function escaped(text: string): string {
  return text.replaceAll("'", `'\\''`);
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${escaped(text)}'`;
}
