import { Page } from '../ui/page.tsx';

export default function Broker() {
  return (
    <Page title="Broker">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
