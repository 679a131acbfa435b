import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { axeFindings } from '../support/axe.ts';
import { describePanel, it, settled } from '../support/panel.ts';
import { createSamples, NAMES } from '../support/panel-samples.ts';

const rowsOf = (page: Page) => page.getByRole('table', { name: /newest first/ }).locator('tbody tr');

describePanel('history', () => {
  it('shows who did what with the values before and after, and links to broker, key, job and device', async ({
    panel,
  }) => {
    const { page, show, api } = panel;
    const { broker, key, device, job } = await createSamples(panel, 'Told');
    await api('PUT', `/mqtt/brokers/${broker}`, { keep_alive: 90 });
    await api('DELETE', `/provisioning-keys/${key}`, { reason: 'lost' });
    await show('/history');
    await settled(page);
    const revoked = rowsOf(page).filter({ hasText: 'key-revoked' }).first();
    expect(await revoked.textContent()).toContain('lost');
    expect(await revoked.getByRole('link', { name: /^key of/ }).getAttribute('href')).toBe(`/keys/${key}`);
    const changed = rowsOf(page).filter({ hasText: 'broker-changed' }).first();
    expect(await changed.getByRole('listitem').allTextContents()).toEqual(['keep_alive 60 → 90']);
    expect(await changed.getByRole('link').getAttribute('href')).toBe(`/brokers/${broker}`);
    const moved = rowsOf(page).filter({ hasText: 'moved' }).first();
    const links = await moved.getByRole('link').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
    expect(links).toEqual(expect.arrayContaining([`/devices/${device}`, `/brokers/${broker}`, `/jobs/${job}`]));
    const created = rowsOf(page).filter({ hasText: 'broker-created' }).first();
    await created.getByText(/^\d+ values$/).click();
    expect(await created.getByRole('listitem').filter({ hasText: 'keep_alive' }).textContent()).toBe('keep_alive 60');
  });

  it('filters and places are in the URL, and Back returns to the former list', async ({ panel }) => {
    const { page, show, api } = panel;
    const { broker, device } = await createSamples(panel, 'Filtered');
    await api('PUT', `/mqtt/brokers/${broker}`, { region: 'eu' });
    await show('/history');
    await settled(page);
    await page.getByLabel('Of').selectOption('operator');
    await page.getByLabel('Broker').selectOption(String(broker));
    await page.waitForURL(`**/history?kind=operator&broker_id=${broker}`);
    await expect.poll(() => rowsOf(page).count()).toBe(2);
    expect(await page.getByLabel('What').locator('option', { hasText: 'registered' }).count()).toBe(0);
    await page.goBack();
    await page.waitForURL('**/history?kind=operator');
    await expect.poll(() => rowsOf(page).count()).toBeGreaterThan(2);
    await show(`/history?device_uuid=${device}`);
    await expect.poll(() => rowsOf(page).count()).toBe(2);
    expect(await page.getByRole('searchbox', { name: 'Device' }).inputValue()).toBe(device);
  });

  it('more than a page: Next and Previous show each event once', async ({ panel }) => {
    const { page, show, api } = panel;
    const { broker } = await createSamples(panel, 'Paged');
    for (let n = 1; n <= 105; n++) await api('PUT', `/mqtt/brokers/${broker}`, { keep_alive: 100 + n });
    await show(`/history?broker_id=${broker}&kind=operator`);
    await expect.poll(() => rowsOf(page).count()).toBe(100);
    await page.getByRole('link', { name: 'Next' }).click();
    await expect.poll(() => rowsOf(page).count()).toBe(6);
    expect(await rowsOf(page).last().textContent()).toContain('broker-created');
    await page.getByRole('link', { name: 'Previous' }).click();
    await expect.poll(() => rowsOf(page).count()).toBe(100);
  });

  it('names with markup are text', async ({ panel }) => {
    const { page, show } = panel;
    const { broker } = await createSamples(panel, NAMES.markup);
    await show(`/history?broker_id=${broker}`);
    await settled(page);
    expect(await page.locator('main').locator('img, b').count()).toBe(0);
    expect(await rowsOf(page).last().textContent()).toContain('<b>bold</b>');
    expect(await page.title()).not.toBe('broken');
  });

  it('a filter that matches nothing says so', async ({ panel }) => {
    // Not of devices: another test may have made more events of them than one page looks at.
    await panel.show('/history?kind=operator&actor=nobody');
    await panel.page.getByText('Nothing matches these filters').waitFor();
  });
});

describePanel('two operators edit one broker', () => {
  it('the second sees what the first changed, chooses where both changed the same, and saves both changes', async ({
    panel,
  }) => {
    const { page, show, api, expectError } = panel;
    const { broker } = await createSamples(panel, 'Shared');
    await show(`/brokers/${broker}/edit`);
    await page.getByLabel('Region').fill('mine');
    await page.getByLabel('Weight').fill('50');
    await api('PUT', `/mqtt/brokers/${broker}`, { region: 'theirs', broker_type: 'edge', accepts_new_devices: false });
    expectError(/status of 412/);
    await page.getByRole('button', { name: 'Save' }).click();
    const dialog = page.getByRole('dialog', { name: 'Somebody changed this broker meanwhile' });
    await dialog.waitFor();
    await dialog.getByText('admin').first().waitFor();
    expect(await dialog.getByRole('row').allTextContents()).toEqual([
      'FieldBeforeAfter',
      'broker_typelocaledge',
      'accepts_new_devicestruefalse',
      'regionnonetheirs',
    ]);
    expect(await axeFindings(page)).toEqual([]);
    const merge = dialog.getByRole('button', { name: 'Merge' });
    expect(await merge.isDisabled()).toBe(true);
    await dialog.getByRole('radio', { name: 'Yours: mine' }).check();
    await merge.click();
    await page.getByText('Nothing is saved yet.').waitFor();
    expect(await page.getByLabel('Type').inputValue()).toBe('edge');
    expect(await page.getByLabel('Region').inputValue()).toBe('mine');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.waitForURL(`**/brokers/${broker}`);
    const { data } = await api<{ data: object }>('GET', `/mqtt/brokers/${broker}`);
    expect(data).toMatchObject({
      region: 'mine',
      broker_type: 'edge',
      allocation_weight: 50,
      accepts_new_devices: false,
    });
  });

  it('Cancel keeps what was typed, and a later Save asks again', async ({ panel }) => {
    const { page, show, api, expectError } = panel;
    const { broker } = await createSamples(panel, 'Cancelled');
    await show(`/brokers/${broker}/edit`);
    await page.getByLabel('Region').fill('mine');
    await api('PUT', `/mqtt/brokers/${broker}`, { region: 'theirs' });
    expectError(/status of 412/);
    const dialog = page.getByRole('dialog');
    for (let n = 0; n < 2; n++) {
      await page.getByRole('button', { name: 'Save' }).click();
      await dialog.waitFor();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      await dialog.waitFor({ state: 'detached' });
      expect(await page.getByLabel('Region').inputValue()).toBe('mine');
    }
    await page.getByRole('button', { name: 'Save' }).click();
    await dialog.getByRole('radio', { name: 'Theirs: theirs' }).check();
    await dialog.getByRole('button', { name: 'Merge' }).click();
    expect(await page.getByRole('button', { name: 'Save' }).isDisabled()).toBe(true);
  });

  it('an action that the page offers is refused when the page is stale; the page then shows the new state', async ({
    panel,
  }) => {
    const { page, show, api, expectError } = panel;
    const { broker } = await createSamples(panel, 'Stale');
    await show(`/brokers/${broker}`);
    expectError(/status of 412/);
    for (const verb of ['Drain', 'Delete']) {
      await page.getByRole('button', { name: verb, exact: true }).click();
      const dialog = page.getByRole('dialog');
      const region = `before ${verb}`;
      await api('PUT', `/mqtt/brokers/${broker}`, { region });
      await dialog.getByRole('button', { name: verb, exact: true }).click();
      await dialog.getByText('Read it again, then decide.').waitFor();
      await page.getByText(region).waitFor();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      await dialog.waitFor({ state: 'detached' });
    }
    expect(await api('GET', `/mqtt/brokers/${broker}`)).toMatchObject({ data: { accepts_new_devices: true } });
    await page.getByRole('button', { name: 'Drain', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Drain', exact: true }).click();
    await page.getByText('It is draining').waitFor();
  });
});
