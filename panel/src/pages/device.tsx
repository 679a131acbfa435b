import { Page } from '../ui/page.tsx';

export default function Device() {
  return (
    <Page title="Device">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
