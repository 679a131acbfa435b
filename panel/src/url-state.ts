/** The members of a query that pages use for filters and places. An empty value is not in the URL. */
export type Query = Record<string, string>;

/**
 * The same URL with other members in its query. An undefined or empty value removes one.
 * @param url path and query
 */
export function withQuery(url: string, changes: Record<string, string | number | boolean | undefined>): string {
  const [path = '/', search = ''] = url.split('?');
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === '') query.delete(name);
    else query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** A path of the API with those members of a query that have a value. */
export function apiPath(path: string, query: Record<string, string | number | boolean | undefined>): string {
  return withQuery(path, query);
}

/** At most this many former pages are in a URL. */
const MAX_TRAIL = 40;

/**
 * Places of a list by keyset: `after` (or `before`) is the current page, `trail` the places of the pages before it, so that
 * "previous" works in a shared URL too. The first page has an empty place.
 *
 * @param place the name of the parameter
 * @param next the link to the next page, as the API sends it
 * @returns the URLs of the neighbours; undefined: there is none
 */
export function neighbours(url: string, place: 'after' | 'before', next: string | undefined) {
  const query = new URLSearchParams(url.split('?')[1] ?? '');
  const current = query.get(place) ?? '';
  const trail = query.get('trail')?.split('~') ?? [];
  const nextPlace = next && new URLSearchParams(next.split('?')[1] ?? '').get(place);
  const longer = [...trail, current].slice(-MAX_TRAIL);
  return {
    first: current === '' ? undefined : withQuery(url, { [place]: undefined, trail: undefined }),
    previous:
      query.get('trail') === null
        ? undefined
        : withTrail(withQuery(url, { [place]: trail.at(-1) }), trail.slice(0, -1)),
    next: nextPlace ? withTrail(withQuery(url, { [place]: nextPlace }), longer) : undefined,
  };
}

/** An empty trail and one with only the first page differ: the latter is `trail=`. */
function withTrail(url: string, trail: string[]): string {
  const without = withQuery(url, { trail: undefined });
  if (trail.length === 0) return without;
  const value = encodeURIComponent(trail.join('~'));
  return `${without}${without.includes('?') ? '&' : '?'}trail=${value}`;
}
