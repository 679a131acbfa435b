import type { ComponentChildren } from 'preact';
import { useLocation } from 'preact-iso/router';
import { neighbours } from '../url-state.ts';

export type Column<Row> = {
  title: string;
  cell: (row: Row) => ComponentChildren;
  /** `number`: right-aligned. `wide`: takes what is left. `minor`: not on a narrow screen. */
  kind?: 'number' | 'wide' | 'minor';
};
type Props<Row> = {
  /** What the table lists, for screen readers. */
  caption: string;
  columns: Column<Row>[];
  rows: Row[];
  keyOf: (row: Row) => string | number;
  /** Shown instead of a table without rows. */
  empty?: ComponentChildren;
};

/** A table whose first column names the row. It scrolls sideways by itself where the screen is narrow. */
export function Table<Row>({ caption, columns, rows, keyOf, empty }: Props<Row>) {
  if (rows.length === 0 && empty) return empty;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section class="table-box" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, kind }) => (
              <th key={title} scope="col" class={kind}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ title, kind, cell }, index) =>
                index === 0 ? (
                  <th key={title} scope="row" class={kind}>
                    {cell(row)}
                  </th>
                ) : (
                  <td key={title} class={kind}>
                    {cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

type PagerProps = {
  /** The link of the reply; undefined on the last page. */
  next: string | undefined;
  place?: 'after' | 'before';
  children?: ComponentChildren;
};

/** Links to the neighbours of a page of a list. The place is in the URL, so Back works and a page can be shared. */
export function Pager({ next, place = 'after', children }: PagerProps) {
  const { url } = useLocation();
  const to = neighbours(url, place, next);
  const isOnlyPage = !to.first && !to.next;
  return (
    <nav class="pager" aria-label="Pages">
      {!isOnlyPage && (
        <span class="pager-links">
          <PagerLink href={to.first} label="First" />
          <PagerLink href={to.previous} label="Previous" />
          <PagerLink href={to.next} label="Next" />
        </span>
      )}
      {children}
    </nav>
  );
}

function PagerLink({ href, label }: { href: string | undefined; label: string }) {
  return href ? (
    <a class="button plain" href={href}>
      {label}
    </a>
  ) : (
    <span class="button plain off" aria-hidden="true">
      {label}
    </span>
  );
}
