import { Page } from '../ui/page.tsx';

export default function JobNew() {
  return (
    <Page title="New job">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
