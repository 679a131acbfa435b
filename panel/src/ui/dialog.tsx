import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { Request } from '../api/client.ts';
import type { Action } from '../data/action.ts';
import { Button } from './button.tsx';
import { Curl } from './curl.tsx';
import { FormBox } from './form-box.tsx';
import { formatted } from './number.tsx';
import { ActionProblem } from './problem.tsx';

type DialogProps = { title: string; onClose: () => void; children: ComponentChildren; isWide?: boolean };

/** A modal `<dialog>`: the browser traps the focus, closes it on Escape, and gives the focus back. */
export function Dialog({ title, onClose, children, isWide = false }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} class={isWide ? 'wide' : ''} aria-labelledby={id} onClose={onClose}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

type ConfirmProps = {
  title: string;
  /** What the button says: the verb. */
  verb: string;
  kind?: 'primary' | 'danger';
  /** What will be sent, shown as a curl command. */
  request: Request;
  secrets?: Record<string, string>;
  action: Action<never> | Action<unknown>;
  onClose: () => void;
  /** How many devices are affected. More than one must be typed before anything is sent. */
  devices?: number | undefined;
  /** Nothing can be sent yet, because the consequences are not known. */
  isWaiting?: boolean;
  /** Checks what was typed; false: nothing is sent. */
  onSubmit?: () => boolean;
  /** The consequences. */
  children: ComponentChildren;
};

/** Shows what will happen, and sends it after a confirmation. It stays open when that fails. */
export function ConfirmDialog({ kind = 'primary', devices = 0, isWaiting = false, action, ...props }: ConfirmProps) {
  const { title, verb, request, secrets, onClose, children } = props;
  const [typed, setTyped] = useState('');
  const id = useId();
  // What was typed confirmed the former request, not this one.
  useEffect(() => setTyped(''), [request.path]);
  const mustType = devices > 1;
  const isConfirmed = !mustType || Number(typed.replace(/[\s,.]/g, '')) === devices;
  return (
    <Dialog title={title} onClose={onClose}>
      <FormBox
        onSubmit={() => {
          if (isConfirmed && !isWaiting && props.onSubmit?.() !== false) action.run(request);
        }}
      >
        <div class="dialog-text">{children}</div>
        {mustType && (
          <div class="field">
            <label for={id}>
              Type <strong>{formatted(devices)}</strong>, the number of devices, to confirm
            </label>
            <input
              id={id}
              class="short"
              inputMode="numeric"
              autocomplete="off"
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          </div>
        )}
        <ActionProblem action={action} />
        <div class="dialog-actions">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind={kind} isBusy={action.isBusy} disabled={!isConfirmed || isWaiting}>
            {verb}
          </Button>
        </div>
        <Curl request={request} {...(secrets ? { secrets } : {})} />
      </FormBox>
    </Dialog>
  );
}
