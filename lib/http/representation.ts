import type { Reply } from './endpoint.ts';
import { matches, quoted } from './etag.ts';

/** A file to send: its type, a tag that changes with its content, and its content, also compressed. */
export type Representation = {
  type: string;
  tag: string;
  contents: { identity: Uint8Array; br?: Uint8Array | undefined; gzip?: Uint8Array | undefined };
};

/**
 * The reply with a file in the smallest coding that the client accepts, or 304.
 *
 * @param headers of the request
 * @param cacheControl `no-cache`: the client asks each time, with the ETag
 */
export function represent(
  { type, tag, contents }: Representation,
  headers: Readonly<Record<string, string | undefined>>,
  cacheControl: string,
): Reply {
  const coding = (['br', 'gzip'] as const).find((one) => contents[one] && accepts(headers['accept-encoding'], one));
  const etag = quoted(coding ? `${tag}-${coding}` : tag);
  const always = { etag, 'cache-control': cacheControl, vary: 'accept-encoding' };
  if (matches(headers['if-none-match'], etag)) return { status: 304, headers: always };
  return {
    headers: { ...always, 'content-type': type, ...(coding ? { 'content-encoding': coding } : {}) },
    bytes: contents[coding ?? 'identity'] as Uint8Array,
  };
}

/** Whether an `Accept-Encoding` header allows this coding (RFC 9110, 12.5.3). */
function accepts(header: string | undefined, coding: string): boolean {
  const weights = (header ?? '').split(',').map((item) => {
    const [name = '', ...parameters] = item
      .trim()
      .toLowerCase()
      .split(/\s*;\s*/);
    const weight = parameters.find((one) => one.startsWith('q='))?.slice(2) ?? '1';
    return [name, Number(weight)] as const;
  });
  const byName = new Map(weights);
  return (byName.get(coding) ?? byName.get('*') ?? 0) > 0;
}
