import { Page } from '../ui/page.tsx';

export default function BrokerNew() {
  return (
    <Page title="New broker">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
