import { Page } from '../ui/page.tsx';

export default function NotFound() {
  return (
    <Page title="No such page">
      <p>
        The panel has no page at this address. Start at the <a href="/">overview</a>.
      </p>
    </Page>
  );
}
