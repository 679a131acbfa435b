import { useSignal } from '@preact/signals';
import { getText } from '../api/client.ts';
import { Failure } from '../api/failure.ts';
import { Button } from './button.tsx';
import { formatted } from './number.tsx';
import { Problem } from './problem.tsx';

type State = { rows: number; failure?: Failure; isBusy: boolean };

/**
 * Downloads every page of a list as one CSV file. The browser cannot do that with a link: the request needs the credential.
 * @param path of the first page, with the largest number of rows that the API gives
 */
export function CsvDownload({ path, fileName }: { path: string; fileName: string }) {
  const state = useSignal<State>({ rows: 0, isBusy: false });
  const download = async () => {
    state.value = { rows: 0, isBusy: true };
    try {
      const pages = await allPages(path, (rows) => {
        state.value = { rows, isBusy: true };
      });
      save(new Blob(pages, { type: 'text/csv' }), fileName);
      state.value = { ...state.value, isBusy: false };
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      state.value = { rows: 0, failure, isBusy: false };
    }
  };
  const { rows, failure, isBusy } = state.value;
  return (
    <>
      <Button onClick={download} isBusy={isBusy}>
        {isBusy ? `${formatted(rows)} rows …` : 'Download CSV'}
      </Button>
      <Problem failure={failure} onRetry={download} />
    </>
  );
}

/** The pages' texts, with the header line only in the first. */
async function allPages(path: string, onRows: (rows: number) => void): Promise<string[]> {
  const pages: string[] = [];
  let rows = 0;
  for (let next: string | undefined = path; next !== undefined; ) {
    const page: Awaited<ReturnType<typeof getText>> = await getText(next, 'text/csv');
    const header = page.text.indexOf('\r\n') + 2;
    pages.push(pages.length === 0 ? page.text : page.text.slice(header));
    rows += page.text.split('\r\n').length - 2;
    onRows(rows);
    next = page.next;
  }
  return pages;
}

function save(blob: Blob, fileName: string): void {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement('a'), { href: url, download: fileName });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
