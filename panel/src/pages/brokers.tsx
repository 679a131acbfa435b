import { Page } from '../ui/page.tsx';

export default function Brokers() {
  return (
    <Page title="Brokers">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
