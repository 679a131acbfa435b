import { Page } from '../ui/page.tsx';

export default function ApiReference() {
  return (
    <Page title="API">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
