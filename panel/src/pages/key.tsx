import { Page } from '../ui/page.tsx';

export default function Key() {
  return (
    <Page title="Provisioning key">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
