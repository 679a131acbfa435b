import { Page } from './page.tsx';

/** Instead of a form that a credential without the scope `write` could not send. */
export function ReadOnly({ title }: { title: string }) {
  return (
    <Page title={title}>
      <p>Your credential may read, but not change anything. Sign in with one that has the scope for changes.</p>
    </Page>
  );
}
