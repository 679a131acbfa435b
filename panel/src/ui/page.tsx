import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { useLocation } from 'preact-iso/router';

type Props = {
  title: string;
  /** The pages above this one: label and path. */
  above?: [label: string, href: string][];
  actions?: ComponentChildren;
  children: ComponentChildren;
};

/** The path of the last page whose heading had the focus; the first page leaves the focus to the browser. */
let focused: string | undefined;

/** A page: its title (also of the tab), where it is, what can be done, and its content. A new page's heading gets the focus. */
export function Page({ title, above = [], actions, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  const { path } = useLocation();
  useEffect(() => {
    document.title = `${title} · Berth`;
  }, [title]);
  useEffect(() => {
    if (focused !== undefined && focused !== path) heading.current?.focus({ preventScroll: true });
    focused = path;
  }, [path]);
  return (
    <>
      {above.length > 0 && (
        <nav class="crumbs" aria-label="Breadcrumb">
          <ol>
            {above.map(([label, href]) => (
              <li key={href}>
                <a href={href}>{label}</a>
              </li>
            ))}
            <li aria-current="page" dir="auto">
              {title}
            </li>
          </ol>
        </nav>
      )}
      <header class="page-head">
        <h1 ref={heading} tabIndex={-1} dir="auto">
          {title}
        </h1>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </>
  );
}

/** A part of a page under a heading. */
export function Section({
  title,
  note,
  actions,
  children,
}: {
  title: string;
  note?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class="section">
      <header class="section-head">
        <h2>{title}</h2>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {note && <p class="note">{note}</p>}
      {children}
    </section>
  );
}
