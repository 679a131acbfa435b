/** Long work. `part`: 0 to 1; undefined: it is not known. The label says what, for screen readers too. */
export function Progress({ part, label }: { part: number | undefined; label: string }) {
  const percent = part === undefined ? undefined : Math.floor(part * 100);
  return (
    <div class="progress">
      <progress max={100} {...(percent === undefined ? {} : { value: percent })} aria-label={label} />
      <span>{percent === undefined ? '' : `${percent} %`}</span>
    </div>
  );
}
