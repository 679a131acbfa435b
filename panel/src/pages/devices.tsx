import { Page } from '../ui/page.tsx';

export default function Devices() {
  return (
    <Page title="Devices">
      <p class="loading">This page is not built yet.</p>
    </Page>
  );
}
