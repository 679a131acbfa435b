import { Page } from '../ui/page.tsx';

export default function Jobs() {
  return (
    <Page title="Bulk-assign">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
