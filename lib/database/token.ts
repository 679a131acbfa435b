import { createHmac } from 'node:crypto';
import { sha256Hex } from '../crypto/hash.ts';
import type { Aws } from '../settings/settings.ts';

type Login = { host: string; port: string; user: string; aws: Aws };

/**
 * An IAM token for a database user, valid for 15 minutes: a request to `rds-db:connect`, signed with Signature Version 4
 * in its query (docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html). Lambda guarantees the SDK's
 * clients but not its signer, so Berth signs the request itself. A test compares the two.
 *
 * @returns `host:port/?Action=connect&…&X-Amz-Signature=…`, to use as the password
 */
export function databaseToken({ host, port, user, aws }: Login, now = new Date()): string {
  const time = now.toISOString().replace(/[-:]|\.\d+/g, '');
  const scope = [time.slice(0, 8), aws.region, 'rds-db', 'aws4_request'];
  const query = Object.entries({
    Action: 'connect',
    DBUser: user,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': [aws.accessKeyId, ...scope].join('/'),
    'X-Amz-Date': time,
    'X-Amz-Expires': '900',
    ...(aws.sessionToken ? { 'X-Amz-Security-Token': aws.sessionToken } : {}),
    'X-Amz-SignedHeaders': 'host',
  }).map(([name, value]) => `${name}=${encode(value)}`);
  const request = ['GET', '/', query.join('&'), `host:${host}:${port}`, '', 'host', sha256Hex('')].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', time, scope.join('/'), sha256Hex(request)].join('\n');
  const key = scope.reduce<string | Buffer>(hmac, `AWS4${aws.secretAccessKey}`);
  const signature = `X-Amz-Signature=${hmac(key, toSign).toString('hex')}`;
  // Sorted by name, as the signer of AWS writes them.
  return `${host}:${port}/?${[...query, signature].sort().join('&')}`;
}

/** RFC 3986: a signature requires some characters to be escaped that `encodeURIComponent` does not escape. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
