import { useSignal } from '@preact/signals';
import { useId } from 'preact/hooks';
import { Failure } from '../api/failure.ts';
import { signIn, signOut } from '../session.ts';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { Problem } from './problem.tsx';

/** Sign-in with an admin token. */
export function SignInForm({ children }: { children?: preact.ComponentChildren }) {
  const id = useId();
  const token = useSignal('');
  const state = useSignal<{ isBusy: boolean; failure?: Failure }>({ isBusy: false });
  const submit = async () => {
    state.value = { isBusy: true };
    try {
      await signIn(token.value.trim());
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      state.value = { isBusy: false, failure };
    }
  };
  return (
    <form
      class="sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        if (token.value.trim() !== '') submit();
      }}
    >
      <div class="field">
        <label for={id}>Admin token</label>
        <input
          id={id}
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          value={token.value}
          onInput={(event) => {
            token.value = event.currentTarget.value;
          }}
        />
        <p class="hint">Kept in this tab only, until it is closed.</p>
      </div>
      <Problem failure={state.value.failure} />
      <div class="dialog-actions">
        {children}
        <Button type="submit" kind="primary" isBusy={state.value.isBusy}>
          Sign in
        </Button>
      </div>
    </form>
  );
}

/** Over the page, so that nothing that was typed is lost. */
export function ExpiredDialog() {
  return (
    <Dialog title="Sign in again" onClose={() => {}}>
      <p class="dialog-text">Berth no longer accepts the credential. The page stays as it is.</p>
      <SignInForm>
        <Button onClick={signOut}>Sign out</Button>
      </SignInForm>
    </Dialog>
  );
}
