/** What changed: fields with the value before and after. */
export type Change = { field: string; before: unknown; after: unknown };

/** The fields whose values differ, in the order of `after`. */
export function changesBetween(before: Record<string, unknown>, after: Record<string, unknown>): Change[] {
  const fields = [...new Set([...Object.keys(after), ...Object.keys(before)])];
  return fields
    .filter((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]))
    .map((field) => ({ field, before: before[field], after: after[field] }));
}

export function Diff({ changes }: { changes: Change[] }) {
  return (
    <div class="table-box">
      <table class="diff">
        <caption class="visually-hidden">What changed</caption>
        <thead>
          <tr>
            <th scope="col">Field</th>
            <th scope="col">Before</th>
            <th scope="col">After</th>
          </tr>
        </thead>
        <tbody>
          {changes.map(({ field, before, after }) => (
            <tr key={field}>
              <th scope="row">
                <code>{field}</code>
              </th>
              <td>
                <del>{shown(before)}</del>
              </td>
              <td>
                <ins>{shown(after)}</ins>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A value of any kind, as text. */
export function shown(value: unknown) {
  if (value === undefined || value === null || value === '') return <span class="muted">none</span>;
  return <bdi class="wrap">{typeof value === 'string' ? value : JSON.stringify(value)}</bdi>;
}
