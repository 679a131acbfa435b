/**
 * The link to the next page: the same request, after the last row's id.
 *
 * @param path without the query, `/api/v1/devices`
 * @param query the query's members as they were checked; absent ones are left out
 * @param lastId the id of the page's last row; undefined when there are no more rows
 */
export function nextLink(path: string, query: Record<string, unknown>, lastId: number | undefined): { next?: string } {
  if (lastId === undefined) return {};
  const members = Object.entries({ ...query, after: lastId }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as [string, string]],
  );
  return { next: `${path}?${new URLSearchParams(members)}` };
}
