import type { ButtonHTMLAttributes, ComponentChildren } from 'preact';
import { canWrite } from '../session.ts';

type Kind = 'plain' | 'primary' | 'danger';
type Props = ButtonHTMLAttributes & { kind?: Kind; isBusy?: boolean; children: ComponentChildren };

/** A button. While busy it keeps its place and its focus, and does nothing. */
export function Button({ kind = 'plain', isBusy = false, type = 'button', children, onClick, ...rest }: Props) {
  return (
    <button
      {...rest}
      type={type as 'button'}
      class={`button ${kind}`}
      aria-busy={isBusy}
      aria-disabled={isBusy || undefined}
      onClick={(event) => {
        if (isBusy) event.preventDefault();
        else onClick?.(event);
      }}
    >
      {children}
    </button>
  );
}

/** A link that looks like a button, for what opens a page. */
export function LinkButton({
  href,
  kind = 'plain',
  children,
}: {
  href: string;
  kind?: Kind;
  children: ComponentChildren;
}) {
  return (
    <a class={`button ${kind}`} href={href}>
      {children}
    </a>
  );
}

/** What only a credential with the scope `write` sees: everything inside would fail for another one. */
export function ForWriters({ children }: { children: ComponentChildren }) {
  return canWrite.value ? children : null;
}
