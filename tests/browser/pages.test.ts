import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { axeFindings } from '../support/axe.ts';
import { describePanel, it, type Panel, SCREENSHOTS, settled } from '../support/panel.ts';
import { createSamples, type Samples } from '../support/panel-samples.ts';

/** Every page, by the name of its screenshots. */
const PAGES: Record<string, (samples: Samples) => string> = {
  overview: () => '/',
  brokers: () => '/brokers',
  'broker-new': () => '/brokers/new',
  broker: ({ broker }) => `/brokers/${broker}`,
  'broker-edit': ({ broker }) => `/brokers/${broker}/edit`,
  devices: () => '/devices',
  device: ({ device }) => `/devices/${device}`,
  keys: () => '/keys',
  'key-new': () => '/keys/new',
  key: ({ key }) => `/keys/${key}`,
  jobs: () => '/jobs',
  'job-new': () => '/jobs/new',
  job: ({ job }) => `/jobs/${job}`,
  history: () => '/history',
  'api-reference': () => '/api-reference',
  'not-found': () => '/no-such-page',
};
const WIDTHS = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };

let samples: Promise<Samples> | undefined;
const samplesOf = (panel: Panel) => {
  samples ??= createSamples(panel, 'Sample');
  return samples;
};

describePanel('each page', () => {
  it.for(Object.entries(PAGES))(
    '%s: axe-core finds nothing in either theme, and nothing is wider than a telephone',
    async ([name, pathOf], { panel }) => {
      const { page, show } = panel;
      await page.setViewportSize(WIDTHS.wide);
      await show(pathOf(await samplesOf(panel)));
      await settled(page);
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        expect(await axeFindings(page), colorScheme).toEqual([]);
        await keep(page, `${name}-wide-${colorScheme}`);
      }
      await page.setViewportSize(WIDTHS.narrow);
      expect(await axeFindings(page), 'narrow').toEqual([]);
      expect(await page.locator('html').evaluate((html) => html.scrollWidth)).toBe(WIDTHS.narrow.width);
      await keep(page, `${name}-narrow-dark`);
      await page.emulateMedia({ colorScheme: 'light' });
      await keep(page, `${name}-narrow-light`);
    },
  );
});

/** With SCREENSHOTS=1: pictures to look at, in .screenshots/. */
async function keep(page: Page, name: string): Promise<void> {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true });
}
