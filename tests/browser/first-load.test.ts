import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { describePanel, it, settled } from '../support/panel.ts';

const MAX_BYTES = 60 * 1024;

type Transfer = { path: string; type: string; bytes: number };

/** What a page transfers, in bytes with headers and as compressed as the server sends it. */
async function transfersOf(page: Page): Promise<Transfer[]> {
  const transfers: Transfer[] = [];
  const started = new Map<string, { path: string; type: string }>();
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  session.on('Network.responseReceived', ({ requestId, type, response }) => {
    started.set(requestId, { path: new URL(response.url).pathname, type });
  });
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    const known = started.get(requestId);
    if (known) transfers.push({ ...known, bytes: encodedDataLength });
  });
  return transfers;
}

describePanel('the first load', () => {
  it.for(['/', '/devices', '/jobs/new'])('of %s transfers at most 60 KB, charts excluded', async (path, { panel }) => {
    const { page, show } = panel;
    const transfers = await transfersOf(page);
    await show(path);
    await settled(page);
    const files = transfers.filter(({ type, path: file }) => type !== 'Fetch' && !/\/plot-/.test(file));
    const bytes = files.reduce((sum, one) => sum + one.bytes, 0);
    console.log(`first load of ${path}: ${bytes} bytes in ${files.length} files`);
    expect(files.length).toBeGreaterThan(2);
    expect(bytes).toBeLessThanOrEqual(MAX_BYTES);
  });

  it('nothing is transferred again: names are immutable, and the page is not modified', async ({ panel }) => {
    const { page, show } = panel;
    await show('/keys');
    await settled(page);
    const transfers = await transfersOf(page);
    await page.reload();
    await settled(page);
    const again = transfers.filter(({ path, bytes }) => path.startsWith('/assets/') && bytes > 0);
    expect(again).toEqual([]);
  });
});
