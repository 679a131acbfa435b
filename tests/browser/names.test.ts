import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { describePanel, it, settled } from '../support/panel.ts';
import { createSamples, NAMES } from '../support/panel-samples.ts';

describePanel('names that somebody else chose', () => {
  it.for(Object.entries(NAMES))(
    '%s: shown as text on every page, and no page grows wider',
    async ([, name], { panel }) => {
      const { page, show } = panel;
      const { broker, key, device, job } = await createSamples(panel, name);
      const paths = [
        ...['/brokers', '/devices', '/keys', '/jobs', '/jobs/new', '/history'],
        ...[`/brokers/${broker}`, `/brokers/${broker}/edit`, `/devices/${device}`, `/keys/${key}`, `/jobs/${job}`],
      ];
      await page.setViewportSize({ width: 390, height: 844 });
      for (const path of paths) {
        await show(path);
        await settled(page);
        await expect.poll(() => shownText(page), { message: path, timeout: 10_000 }).toContain(name.slice(0, 60));
        const { title, width, marks } = await page.locator('body').evaluate((body) => ({
          title: body.ownerDocument.title,
          width: body.ownerDocument.documentElement.scrollWidth,
          marks: body.querySelectorAll('img, b').length,
        }));
        expect({ path, marks, width, isWhole: title !== 'broken' }).toEqual({
          path,
          marks: 0,
          width: 390,
          isWhole: true,
        });
      }
    },
  );
});

/** The page's text with what is in its fields. */
async function shownText(page: Page): Promise<string> {
  const fields = await page
    .locator('input, textarea')
    .evaluateAll((all) => all.map((field) => (field as unknown as { value: string }).value));
  return `${await page.locator('body').textContent()}${fields.join()}`;
}
