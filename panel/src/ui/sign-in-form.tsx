import { useSignal } from '@preact/signals';
import { useEffect, useId } from 'preact/hooks';
import { Failure } from '../api/failure.ts';
import type { Oidc } from '../oidc.ts';
import {
  dismissExpiry,
  state as session,
  settings,
  signIn,
  signInAt,
  signInInNewTab,
  signOut,
  whenSignedInElsewhere,
} from '../session.ts';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { FormBox } from './form-box.tsx';
import { Problem } from './problem.tsx';

type Props = { children?: preact.ComponentChildren };

/** Sign-in at the issuer of tokens, or with a token. */
export function SignInForm({ children }: Props) {
  const { auth } = settings.value;
  return auth.kind === 'oidc' ? <IssuerForm oidc={auth}>{children}</IssuerForm> : <TokenForm>{children}</TokenForm>;
}

function IssuerForm({ oidc, children }: Props & { oidc: Oidc }) {
  const before = session.value.name === 'signed-out' ? session.value.failure : undefined;
  return (
    <SignIn run={() => signInAt(oidc)} before={before} other={children}>
      <p class="hint">You sign in at {new URL(oidc.issuer).host}, which leads back here.</p>
    </SignIn>
  );
}

function TokenForm({ children }: Props) {
  const id = useId();
  const token = useSignal('');
  const entered = token.value.trim();
  return (
    <SignIn run={() => signIn(entered)} isReady={entered !== ''} other={children}>
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
    </SignIn>
  );
}

type SignInProps = {
  run: () => Promise<unknown>;
  /** Without it, the form does nothing. */
  isReady?: boolean;
  /** What failed before. */
  before?: Failure | undefined;
  /** Beside the button. */
  other: preact.ComponentChildren;
  children: preact.ComponentChildren;
};

function SignIn({ run, isReady = true, before, other, children }: SignInProps) {
  const state = useSignal<{ isBusy: boolean; failure?: Failure | undefined }>({ isBusy: false, failure: before });
  const submit = async () => {
    state.value = { isBusy: true };
    try {
      await run();
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      state.value = { isBusy: false, failure };
    }
  };
  return (
    <FormBox class="sign-in" onSubmit={() => isReady && submit()}>
      {children}
      <Problem failure={state.value.failure} />
      <div class="dialog-actions">
        {other}
        <Button type="submit" kind="primary" isBusy={state.value.isBusy}>
          Sign in
        </Button>
      </div>
    </FormBox>
  );
}

/** Over the page, so that nothing that was typed is lost. */
export function ExpiredDialog() {
  return (
    <Dialog title="Sign in again" onClose={dismissExpiry}>
      <p class="dialog-text">Berth no longer accepts the credential. The page stays as it is.</p>
      {settings.value.auth.kind === 'oidc' ? (
        <InNewTab />
      ) : (
        <SignInForm>
          <Button onClick={signOut}>Sign out</Button>
        </SignInForm>
      )}
    </Dialog>
  );
}

/** The page of the issuer in another tab, which gives its token to this one. */
function InNewTab() {
  const failure = useSignal<Failure | undefined>(undefined);
  useEffect(
    () =>
      whenSignedInElsewhere((token) => {
        signIn(token).catch((error) => {
          if (!(error instanceof Failure)) throw error;
          failure.value = error;
        });
      }),
    [],
  );
  return (
    <>
      <Problem failure={failure.value} />
      <div class="dialog-actions">
        <Button onClick={signOut}>Sign out</Button>
        <Button kind="primary" onClick={signInInNewTab}>
          Sign in in a new tab
        </Button>
      </div>
    </>
  );
}
