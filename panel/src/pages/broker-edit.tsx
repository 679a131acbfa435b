import { Page } from '../ui/page.tsx';

export default function BrokerEdit() {
  return (
    <Page title="Edit broker">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
