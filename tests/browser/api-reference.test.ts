import { expect } from 'vitest';
import { axeFindings } from '../support/axe.ts';
import { describePanel, it, settled } from '../support/panel.ts';

describePanel('the API page', () => {
  it('opens and closes a route by keyboard; the address keeps it, and the search', async ({ panel }) => {
    const { page, show, stack } = panel;
    await show('/api-reference');
    await settled(page);
    await page.getByRole('searchbox', { name: 'Search' }).fill('put broker change');
    await page.waitForURL(/search=put\+broker\+change/);
    const route = page.locator('details.api-route', { hasText: '/api/v1/mqtt/brokers/{id}' });
    await expect.poll(() => page.locator('details.api-route').count()).toBeLessThan(5);
    await route.locator('summary').first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('table', { name: 'Parameters' }).waitFor();
    expect(page.url()).toBe(`${stack.url}/api-reference?search=put+broker+change&route=putMqttBrokersId`);
    await page.reload();
    await page.getByRole('table', { name: 'Parameters' }).waitFor();
    for (const part of await page.locator('details.api-part > summary').all()) await part.click();
    expect(await axeFindings(page)).toEqual([]);
    await route.locator('summary').first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('table', { name: 'Parameters' }).waitFor({ state: 'detached' });
    await page.waitForURL((url) => !url.searchParams.has('route'));
  });

  it('the command of a route works when pasted', async ({ panel }) => {
    const { page, show, stack } = panel;
    await show('/api-reference?route=getSession');
    const command = await page.locator('.api-command code').textContent();
    expect(command).toContain(`${stack.url}/api/v1/session`);
    const { execFileSync } = await import('node:child_process');
    const env = { ...process.env, BERTH_TOKEN: stack.adminToken };
    const reply = execFileSync('bash', ['-c', `${command} -s`], { encoding: 'utf8', env });
    expect(JSON.parse(reply)).toEqual({ actor: 'admin', scopes: ['read', 'write'] });
  });
});
