/** Whether an `If-None-Match` header names this tag; compared weakly, as RFC 9110 13.1.2 has it. */
export function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (!ifNoneMatch) return false;
  return ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

/** An entity tag as a header has it: quoted. */
export function quoted(tag: string): string {
  return `"${tag}"`;
}

/** The strong tags of an `If-Match` header without quotes (`*` for any); undefined when there is none. */
export function tagsOf(ifMatch: string | undefined): string[] | undefined {
  return ifMatch?.split(',').map((tag) => tag.trim().replace(/^"(.*)"$/, '$1'));
}
