import type { ComponentChildren } from 'preact';

type Props = { class?: string; onSubmit: () => unknown; children: ComponentChildren };

/** A form whose fields this code checks, and which the browser neither checks nor sends. */
export function FormBox({ class: name, onSubmit, children }: Props) {
  return (
    <form
      class={name}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        // A dialog's form may be within another form, which must not be submitted with it.
        event.stopPropagation();
        onSubmit();
      }}
    >
      {children}
    </form>
  );
}
