import { Page } from '../ui/page.tsx';

export default function KeyNew() {
  return (
    <Page title="Issue a key">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
