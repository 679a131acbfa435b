import { sha256Hex } from '../crypto/hash.ts';

/** Whether an `If-None-Match` header contains this tag. The comparison is weak (RFC 9110, 13.1.2). */
export function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (!ifNoneMatch) return false;
  return ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

/** The entity tag of a reply's body, with quotes: another body has another tag. */
export function bodyTag(body: object): string {
  return quoted(sha256Hex(JSON.stringify(body)).slice(0, 32));
}

/** An entity tag with the quotes that a header needs. */
export function quoted(tag: string): string {
  return `"${tag}"`;
}

/**
 * The strong tags of an `If-Match` header without quotes. Undefined: any tag, without the header or for `*`. In quotes,
 * `"*"` is a tag (RFC 9110, 13.1.1).
 */
export function tagsOf(ifMatch: string | undefined): string[] | undefined {
  if (ifMatch === undefined || ifMatch.trim() === '*') return undefined;
  return ifMatch.split(',').map((tag) => tag.trim().replace(/^"(.*)"$/, '$1'));
}
