import { Page } from '../ui/page.tsx';

export default function Job() {
  return (
    <Page title="Job">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
