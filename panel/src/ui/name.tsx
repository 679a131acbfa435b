/**
 * Text that somebody else chose, such as a device's name: shown as it is, in its own direction, and cut by the stylesheet where it
 * is too long. The whole of it is in the title.
 */
export function Name({ text, fallback = '—' }: { text: string | null | undefined; fallback?: string }) {
  if (text === null || text === undefined || text === '') return <span class="muted">{fallback}</span>;
  return (
    <bdi class="name" title={text}>
      {text}
    </bdi>
  );
}

/** An identifier in a fixed-width font. */
export function Code({ text }: { text: string | number | null | undefined }) {
  if (text === null || text === undefined || text === '') return <span class="muted">—</span>;
  return <code title={String(text)}>{text}</code>;
}
