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
        ...['/brokers', '/devices', '/keys', '/jobs', '/jobs/new'],
        ...[`/brokers/${broker}`, `/brokers/${broker}/edit`, `/devices/${device}`, `/keys/${key}`, `/jobs/${job}`],
      ];
      const missing: string[] = [];
      await page.setViewportSize({ width: 390, height: 844 });
      for (const path of paths) {
        await show(path);
        await settled(page);
        const { text, title, width, marks } = await page.locator('body').evaluate((body) => ({
          text: body.textContent ?? '',
          title: body.ownerDocument.title,
          width: body.ownerDocument.documentElement.scrollWidth,
          marks: body.querySelectorAll('img, b').length,
        }));
        const options = await page
          .locator('input, textarea')
          .evaluateAll((fields) => fields.map((field) => (field as unknown as { value: string }).value));
        if (!`${text}${options.join()}`.includes(name.slice(0, 60))) missing.push(path);
        expect({ path, marks, width, isWhole: title !== 'broken' }).toEqual({
          path,
          marks: 0,
          width: 390,
          isWhole: true,
        });
      }
      expect(missing).toEqual([]);
    },
  );
});
