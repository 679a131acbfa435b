import { useEffect } from 'preact/hooks';
import { settings } from '../session.ts';
import { SignInForm } from '../ui/sign-in-form.tsx';

/** Shown at every address while nobody is signed in, so that the address is opened after signing in. */
export default function SignIn() {
  useEffect(() => {
    document.title = 'Sign in · Berth';
  }, []);
  const { stage } = settings.value;
  return (
    <main class="alone">
      <h1>Berth</h1>
      <p class="muted">Sign in to see and move devices{stage ? ` on ${stage}` : ''}.</p>
      <SignInForm />
    </main>
  );
}
