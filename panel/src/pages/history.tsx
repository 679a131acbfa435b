import { Page } from '../ui/page.tsx';

export default function History() {
  return (
    <Page title="History">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
