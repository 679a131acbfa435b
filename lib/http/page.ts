/**
 * The link to the next page: the same query, starting after the last row.
 *
 * @param path without the query, `/api/v1/devices`
 * @param query the validated query
 * @param place the id or name of the last row under the name of its parameter, `{ after: 42 }`; undefined on the last page
 */
export function nextLink(
  path: string,
  query: Record<string, unknown>,
  place: Record<string, number | string | undefined>,
): { next?: string } {
  if (Object.values(place).includes(undefined)) return {};
  const members = Object.entries({ ...query, ...place }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as [string, string]],
  );
  return { next: `${path}?${new URLSearchParams(members)}` };
}
