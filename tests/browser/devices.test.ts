import { randomUUID } from 'node:crypto';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { invalidAdminCredential } from '../../lib/errors.ts';
import { describePanel, it, type Panel } from '../support/panel.ts';
import { registerDevice } from '../support/panel-samples.ts';

const dialogOf = (page: Page) => page.getByRole('dialog');
const get = (panel: Panel, uuid: string) =>
  panel.api<{ device: Record<string, unknown> }>('GET', `/devices/${uuid}`).then(({ device }) => device);

/** Registers devices of a fleet of their own. */
const register = async (panel: Panel, names: string[]) => {
  const fleet = `fleet ${randomUUID()}`;
  const { key } = await panel.api<{ key: string }>('POST', '/provisioning-keys', { fleet_id: fleet });
  const uuids = names.map(() => randomUUID());
  for (const [index, name] of names.entries()) {
    await registerDevice(panel.stack.url, key, uuids[index] as string, name);
  }
  return { fleet, uuids, uuid: uuids[0] as string };
};

describePanel('devices', () => {
  it('by keyboard only: finds a device, sees why it is at its broker, and chooses another one', async ({ panel }) => {
    const { page, show, stack } = panel;
    const name = `Pump ${randomUUID().slice(0, 8)}`;
    const { uuid } = await register(panel, [name]);
    const target = stack.brokers[1] as { id: number; name: string };
    await show('/devices');
    await page.getByRole('searchbox', { name: 'Search' }).focus();
    await page.keyboard.type(name.toUpperCase());
    await page.waitForURL(/search=PUMP/);
    const link = page.getByRole('link', { name });
    await link.waitFor();
    // Back leads to the list without the search, not to the page before it.
    await page.goBack();
    await expect.poll(() => page.url()).toMatch(/\/devices$/);
    await expect.poll(() => page.getByRole('searchbox', { name: 'Search' }).inputValue()).toBe('');
    await page.goForward();
    await page.waitForURL(/search=PUMP/);
    expect(await page.getByRole('table', { name: 'Devices' }).getByRole('row').count()).toBe(2);
    await link.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name, level: 1 }).waitFor();
    await page.getByText('the device has no assignment').waitFor();
    await page.getByRole('button', { name: 'Choose its broker' }).focus();
    await page.keyboard.press('Enter');
    await dialogOf(page).getByLabel('Broker', { exact: true }).focus();
    await page.keyboard.type(target.name);
    await dialogOf(page).getByLabel('Reason').focus();
    await page.keyboard.type('closer');
    await page.keyboard.press('Enter');
    await page.getByText('Broker chosen').waitFor();
    await page.getByText(`broker ${target.id} (${target.name}) is active`).waitFor();
    await page
      .getByRole('table', { name: /Events/ })
      .getByText('closer')
      .waitFor();
    expect(await get(panel, uuid)).toMatchObject({ mqtt_broker_id: target.id });
    const opener = page.getByRole('button', { name: 'Choose its broker' });
    await expect.poll(() => opener.evaluate((one) => one === one.ownerDocument.activeElement)).toBe(true);
  });

  it('filters are in the URL: a copied address shows the same, and Back undoes one', async ({ panel }) => {
    const { page, show, open, stack } = panel;
    const { fleet, uuids } = await register(panel, ['One', 'Two']);
    await panel.api('PUT', `/devices/${uuids[0]}`, { mqtt_broker_id: stack.brokers[1]?.id });
    await show(`/devices?fleet_id=${encodeURIComponent(fleet)}`);
    const rows = page.getByRole('table', { name: 'Devices' }).getByRole('row');
    await expect.poll(() => rows.count()).toBe(3);
    await page.getByLabel('Assigned to').selectOption({ label: stack.brokers[1]?.name ?? '' });
    await expect.poll(() => rows.count()).toBe(2);
    const copied = await open(page.url());
    await copied.getByRole('link', { name: 'One' }).waitFor();
    expect(await copied.getByRole('link', { name: 'Two' }).count()).toBe(0);
    await page.goBack();
    await expect.poll(() => rows.count()).toBe(3);
    await page.getByLabel('Assigned to').selectOption({ label: 'none: follows the default' });
    await page.getByRole('link', { name: 'Two' }).waitFor();
    await expect.poll(() => rows.count()).toBe(2);
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.waitForURL(/\/devices$/);
  });

  it('asks the API for nothing while there is nothing to do, and again when the window gets the focus', async ({
    panel,
  }) => {
    const { page, show } = panel;
    const { uuid } = await register(panel, ['Quiet']);
    await show(`/devices/${uuid}`);
    await page.getByRole('table', { name: /Events/ }).waitFor();
    await page.waitForLoadState('networkidle');
    const asked: string[] = [];
    page.on('request', (request) => {
      const { pathname } = new URL(request.url());
      if (pathname.startsWith('/api/')) asked.push(pathname);
    });
    await page.waitForTimeout(3_000);
    expect(asked).toEqual([]);
    await page.evaluate('dispatchEvent(new Event("focus"))');
    await expect.poll(() => asked).toContain(`/api/v1/devices/${uuid}`);
  });

  it('shows at a filter that the API refuses what it may be', async ({ panel }) => {
    panel.expectError(/status of 400/);
    await panel.show('/devices?tags=nothing');
    const alert = panel.page.getByRole('alert');
    await alert.getByText('must be tags such as site:berlin,line:3').first().waitFor();
    expect(await alert.textContent()).toContain('invalid-request');
  });

  it('deactivates, activates and deletes a device; its history outlives it', async ({ panel }) => {
    const { page, show, expectError } = panel;
    const { uuid } = await register(panel, ['Short life']);
    await show(`/devices/${uuid}`);
    await page.getByRole('button', { name: 'Deactivate' }).click();
    await dialogOf(page).getByRole('button', { name: 'Deactivate' }).click();
    await page.getByText('Device deactivated').waitFor();
    expect(await get(panel, uuid)).toMatchObject({ is_active: false });
    await page.getByRole('button', { name: 'Activate' }).click();
    await dialogOf(page).getByRole('button', { name: 'Activate' }).click();
    await page.getByText('Device activated').waitFor();
    await page.getByRole('button', { name: 'Rotate its password' }).click();
    await dialogOf(page).getByRole('button', { name: 'Rotate' }).click();
    await page.getByText('Its MQTT password has ended').waitFor();
    await page.getByRole('button', { name: 'Delete' }).click();
    await dialogOf(page).getByRole('button', { name: 'Delete' }).click();
    await page.waitForURL(/\/devices$/);
    expectError(/status of 404/);
    await show(`/devices/${uuid}`);
    await page.getByText('There is no such device').waitFor();
    const history = page.getByRole('table', { name: /Events/ });
    for (const type of ['deleted', 'credentials-revoked', 'activated', 'deactivated', 'registered']) {
      await history.getByText(type, { exact: true }).waitFor();
    }
  });

  it('two operators edit one device: the second sees it as it is now, and undoes nothing', async ({ panel }) => {
    const { page, show, api, expectError } = panel;
    const { uuid } = await register(panel, ['Shared']);
    await show(`/devices/${uuid}`);
    await page.getByRole('button', { name: 'Edit' }).click();
    await dialogOf(page).getByLabel('Name').fill('Mine');
    await api('PUT', `/devices/${uuid}`, { device_type: 'theirs' });
    expectError(/status of 412/);
    await dialogOf(page).getByRole('button', { name: 'Save' }).click();
    await dialogOf(page).getByText('precondition-failed').waitFor();
    expect(await get(panel, uuid)).toMatchObject({ device_name: 'Shared', device_type: 'theirs' });
    await page.getByRole('definition').getByText('theirs').waitFor();
    await dialogOf(page).getByRole('button', { name: 'Save' }).click();
    await page.getByText('Device changed').waitFor();
    expect(await get(panel, uuid)).toMatchObject({ device_name: 'Mine', device_type: 'theirs' });
  });

  it('after a lost reply to a deletion, says that the device is gone', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/ERR_|Failed to load resource/);
    const { uuid } = await register(panel, ['Lost']);
    const page = await panel.open(`${front.url}/devices/${uuid}?do=delete`);
    front.decide((method) => (method === 'DELETE' ? 'lose-reply' : 'pass'));
    await dialogOf(page).getByRole('button', { name: 'Delete' }).click();
    await page.getByText('There is no such device').waitFor();
  });

  it('after an expired credential, signing in again shows what was refused', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/status of 401/);
    const { uuid } = await register(panel, ['Expired']);
    const page = await panel.open(`${front.url}/devices`);
    await page.getByRole('table', { name: 'Devices' }).waitFor();
    front.decide((_method, path) => (path.startsWith('/api/') ? invalidAdminCredential : 'pass'));
    await page.getByRole('searchbox', { name: 'Search' }).fill(uuid);
    const dialog = dialogOf(page);
    await dialog.getByLabel('Admin token').fill(panel.stack.adminToken);
    front.decide(() => 'pass');
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Expired' }).waitFor();
    expect(await page.getByRole('alert').count()).toBe(0);
  });

  it('a read-only credential sees everything, and no button that would fail', async ({ panel }) => {
    const { page, stack } = panel;
    const { uuid } = await register(panel, ['Seen']);
    await page.route('**/api/v1/session', (route) => route.fulfill({ json: { actor: 'reader', scopes: ['read'] } }));
    const broker = stack.brokers[0]?.id;
    const paths = ['/brokers', `/brokers/${broker}`, `/brokers/${broker}?do=drain`, '/brokers/new', '/devices'];
    for (const path of [...paths, `/devices/${uuid}`, `/devices/${uuid}?do=delete`]) {
      await panel.show(path);
      await page.getByText('read only', { exact: true }).waitFor();
      await expect.poll(() => page.locator('main .loading').count()).toBe(0);
      expect(await dialogOf(page).count(), path).toBe(0);
      const names = await page.locator('main').getByRole('button').allTextContents();
      expect(names, path).toEqual([]);
    }
  });
});
