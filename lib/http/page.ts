/**
 * The link to the next page: the same request from another place on.
 *
 * @param path without the query, `/api/v1/devices`
 * @param query the query's members as they were checked; absent ones are left out
 * @param place the last row's id under its member's name, `{ after: 42 }`; undefined when there are no more rows
 */
export function nextLink(
  path: string,
  query: Record<string, unknown>,
  place: Record<string, number | undefined>,
): { next?: string } {
  if (Object.values(place).includes(undefined)) return {};
  const members = Object.entries({ ...query, ...place }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as [string, string]],
  );
  return { next: `${path}?${new URLSearchParams(members)}` };
}
