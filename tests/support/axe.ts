import axe from 'axe-core';
import type { Page } from 'playwright-core';

/** What axe-core finds on the page as it is, one line each: rule, element, and what is wrong. Empty: nothing. */
export async function axeFindings(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import('axe-core') };
    // Nothing is fetched: the CSP forbids it to scripts, and the styles are there.
    const { violations } = await axe.run({ preload: false });
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
  });
}
