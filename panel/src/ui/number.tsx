const format = new Intl.NumberFormat('en');

/** `1,000,000`. */
export function formatted(value: number): string {
  return format.format(value);
}

/** A number in a column of numbers. */
export function Count({ value }: { value: number | null | undefined }) {
  if (value === null || value === undefined) return <span class="muted">—</span>;
  return <span class="count">{formatted(value)}</span>;
}

/** `1 device`, `2,000 devices`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${formatted(value)} ${value === 1 ? one : many}`;
}
