/** Whether a request asks for CSV: `Accept: text/csv`. */
export function wantsCsv(headers: Readonly<Record<string, string | undefined>>): boolean {
  return (headers.accept ?? '').toLowerCase().includes('text/csv');
}

/**
 * Rows as CSV (RFC 4180) with a header line. Null is an empty field. A text that a spreadsheet would run as a formula is
 * preceded by an apostrophe.
 */
export function csv<C extends string>(columns: readonly C[], rows: readonly Record<C, unknown>[]): string {
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))];
  return lines.map((fields) => `${fields.map(field).join(',')}\r\n`).join('');
}

function field(value: unknown): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : String(value ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
