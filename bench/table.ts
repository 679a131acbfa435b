type Cell = string | number | undefined;

/** Rows as text in columns: the first column to the left, all others to the right. Without a figure: –. */
export function table(head: string[], rows: Cell[][]): string {
  const texts = [head, ...rows.map((row) => row.map((cell) => (cell === undefined ? '–' : String(cell))))];
  const widths = head.map((_, i) => Math.max(...texts.map((row) => row[i]?.length ?? 0)));
  const line = (row: string[]) =>
    row.map((text, i) => (i ? text.padStart(widths[i] as number) : text.padEnd(widths[i] as number))).join('  ');
  return [line(texts[0] as string[]), widths.map((width) => '─'.repeat(width)).join('  '), ...texts.slice(1).map(line)]
    .map((text) => text.trimEnd())
    .join('\n');
}

/** The middle one of several figures; of an even number of them, the lower of the two. */
export function median(figures: number[]): number {
  return at(figures, 0.5);
}

/** The figure that `share` of all figures don't exceed. */
export function at(figures: number[], share: number): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

/** Three significant digits. */
export function short(figure: number): number {
  return Number(figure.toPrecision(3));
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

export function round2(figure: number): number {
  return Math.round(figure * 100) / 100;
}
