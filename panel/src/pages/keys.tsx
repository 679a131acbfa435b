import { Page } from '../ui/page.tsx';

export default function Keys() {
  return (
    <Page title="Provisioning keys">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
