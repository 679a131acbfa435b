import { Page } from '../ui/page.tsx';

export default function Overview() {
  return (
    <Page title="Overview">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
