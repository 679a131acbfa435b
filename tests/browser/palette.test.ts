import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { axeFindings } from '../support/axe.ts';
import { describePanel, it, keepPicture, type Panel, settled } from '../support/panel.ts';

/** Ctrl K finds, with the keyboard alone. The names are of these tests only, because the stack is shared. */
const NAME = 'Palette <b>pump</b> 7';

const find = (page: Page) => page.getByRole('dialog', { name: 'Find' });

async function create({ api, stack }: Panel) {
  const broker = await api<{ data: { id: number } }>('POST', '/mqtt/brokers', {
    ...{ name: `palette-broker-${Date.now()}`, host: 'palette.example.com', port: 1883, protocol: 'mqtt' },
  });
  const key = await api<{ id: string; key: string }>('POST', '/provisioning-keys', {
    ...{ fleetId: `palette-fleet-${Date.now()}`, description: 'The line of the palette' },
  });
  const uuid = `palette-${Date.now()}`;
  const body = { uuid, deviceName: NAME, deviceType: 'pump', deviceApiKey: 'the-key-of-the-device' };
  const reply = await fetch(`${stack.url.replace('localhost', '127.0.0.1')}/api/v1/device/register`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key.key}` },
    body: JSON.stringify(body),
  });
  expect(reply.status).toBe(200);
  const job = await api<{ id: number }>('POST', '/devices/bulk-assign', {
    ...{ filter: { uuids: [uuid] }, target: { mqtt_broker_id: broker.data.id }, reason: 'Reason of the palette' },
  });
  return { broker: broker.data.id, key: key.id, uuid, job: job.id };
}

describePanel('the command palette', () => {
  it('opens a device by name and by uuid, a broker, a key and a job by their names, a job by its number', async ({
    panel,
  }) => {
    const { page, show, stack } = panel;
    const made = await create(panel);
    await show('/api-reference');
    await settled(page);
    for (const [typed, text, path] of [
      ['palette <b>', NAME, `/devices/${made.uuid}`],
      [made.uuid.toUpperCase(), NAME, `/devices/${made.uuid}`],
      ['palette.example', 'palette-broker', `/brokers/${made.broker}`],
      ['line of the PALETTE', 'palette-fleet', `/keys/${made.key}`],
      [made.key.slice(0, 13), 'palette-fleet', `/keys/${made.key}`],
      ['reason of the palette', `Job ${made.job}`, `/jobs/${made.job}`],
      [`#${made.job}`, `Job ${made.job}`, `/jobs/${made.job}`],
      ['histo', 'History', '/history'],
    ] as const) {
      await page.keyboard.press('Control+k');
      await page.keyboard.type(typed);
      await find(page).getByRole('option', { name: text, selected: true }).waitFor();
      await page.keyboard.press('Enter');
      await page.waitForURL(stack.url + path);
      await find(page).waitFor({ state: 'detached' });
    }
  });

  it('axe-core finds nothing in it in either theme, and it fits a telephone', async ({ panel }) => {
    const { page, show } = panel;
    await create(panel);
    await show('/api-reference');
    await settled(page);
    await page.keyboard.press('Control+k');
    await page.keyboard.type('palette');
    await find(page).getByRole('option', { name: NAME }).first().waitFor();
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await axeFindings(page), colorScheme).toEqual([]);
      await keepPicture(page, `palette-${colorScheme}`);
    }
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await page.locator('html').evaluate((html) => html.scrollWidth)).toBe(390);
    await keepPicture(page, 'palette-narrow');
  });

  it('the arrows choose among all groups and around their end, and Escape gives the focus back', async ({ panel }) => {
    const { page, show } = panel;
    await show('/api-reference');
    await settled(page);
    await page.getByRole('searchbox', { name: 'Search' }).focus();
    await page.keyboard.press('Control+k');
    const options = find(page).getByRole('option');
    await expect.poll(() => options.count()).toBe(10);
    const selected = () => find(page).getByRole('option', { selected: true }).textContent();
    expect(await selected()).toBe('Overview');
    await page.keyboard.press('ArrowUp');
    expect(await selected()).toBe('Move many devices');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    expect(await selected()).toBe('Brokers');
    const chosen = await find(page).getByRole('option', { selected: true }).getAttribute('id');
    expect(await find(page).getByRole('combobox').getAttribute('aria-activedescendant')).toBe(chosen);
    await page.keyboard.press('Escape');
    await find(page).waitFor({ state: 'detached' });
    expect(await page.evaluate('document.activeElement.type')).toBe('search');
  });

  it('searches once when several letters are typed, and says when nothing is found', async ({ panel }) => {
    const front = await panel.front();
    const page = await panel.open(`${front.url}/api-reference`);
    await settled(page);
    await page.keyboard.press('Control+k');
    await find(page).getByRole('combobox').pressSequentially('no-such-thing', { delay: 20 });
    await page.getByText('Nothing begins with or contains “no-such-thing”.').waitFor();
    const searches = front.passed.filter(({ path }) => path.startsWith('/api/v1/devices?'));
    expect(searches.map(({ path }) => path)).toEqual(['/api/v1/devices?search=no-such-thing&limit=8']);
  });

  it('shows what can be found when one kind cannot be searched, and finds it again later', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/ERR_|Failed to load/);
    const page = await panel.open(`${front.url}/api-reference`);
    await settled(page);
    front.decide((_method, path) => (path.startsWith('/api/v1/mqtt/brokers') ? 'lose-reply' : 'pass'));
    await page.keyboard.press('Control+k');
    await page.keyboard.type('local-');
    await find(page).getByRole('group', { name: 'Brokers' }).getByText('No reply').waitFor();
    front.decide(() => 'pass');
    await page.keyboard.type('1');
    await find(page).getByRole('option', { name: 'local-1' }).waitFor();
  });
});
