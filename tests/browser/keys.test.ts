import { execFileSync } from 'node:child_process';
import { expect } from 'vitest';
import { describePanel, it } from '../support/panel.ts';

describePanel('provisioning keys', () => {
  it('by keyboard only: issues a key, shows it once, and its curl command registers a device', async ({ panel }) => {
    const { page, show } = panel;
    await show('/keys');
    await page.getByRole('link', { name: 'Issue a key' }).focus();
    await page.keyboard.press('Enter');
    await page.getByLabel('Fleet').focus();
    await page.keyboard.type('north');
    await page.keyboard.press('Tab');
    await page.keyboard.type('For the first line');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'The new provisioning key' }).waitFor();
    const key = (await page.locator('.secret code').textContent()) as string;
    expect(key).toMatch(/^prov_/);
    expect(page.url()).not.toContain(key);

    const command = (await page.locator('.command code').textContent()) as string;
    expect(command).toContain(key);
    const reply = execFileSync('bash', ['-c', command.replace('localhost', '127.0.0.1')], { stdio: 'pipe' }).toString();
    expect(JSON.parse(reply)).toMatchObject({ fleetId: 'north', mqtt: { username: expect.any(String) } });

    await page.getByRole('link', { name: 'I have stored it' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'For the first line' }).waitFor();
    expect(await page.getByText('1 of 100').count()).toBe(1);
    expect(await page.content()).not.toContain(key);
  });

  it('shows at the field what the API would say, keeps what was typed, and sends nothing', async ({ panel }) => {
    const { page, show } = panel;
    await show('/keys/new');
    const sent: string[] = [];
    page.on('request', (request) => request.method() === 'POST' && sent.push(request.url()));
    await page.getByLabel('Description').fill('kept');
    await page.getByRole('textbox', { name: /^Places/ }).fill('10001');
    await page.getByRole('button', { name: 'Issue the key' }).click();
    await page.getByText('must be a whole number from 1 to 10000').waitFor();
    expect(await page.getByRole('textbox', { name: /^Places/ }).getAttribute('aria-invalid')).toBe('true');
    expect(await page.getByLabel('Fleet').evaluate((field) => field === field.ownerDocument.activeElement)).toBe(true);
    expect(await page.getByLabel('Description').inputValue()).toBe('kept');
    expect(sent).toEqual([]);
  });

  it('changes a key, and shows the second operator what the first one changed', async ({ panel }) => {
    const { page, show, stack, api, open, expectError } = panel;
    const { id } = await api<{ id: string }>('POST', '/provisioning-keys', {
      fleet_id: 'shared',
      description: 'Before',
    });
    await show(`/keys/${id}`);
    const second = await open(`${stack.url}/keys/${id}`);
    await second.getByLabel('Description').waitFor();

    await page.getByRole('textbox', { name: /^Places/ }).fill('250');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Key changed').waitFor();

    await second.getByLabel('Description').fill('Mine');
    expectError(/status of 412/);
    await second.getByRole('button', { name: 'Save' }).click();
    const dialog = second.getByRole('dialog', { name: 'Somebody changed this key meanwhile' });
    await dialog.getByRole('row', { name: 'max_devices 100 250' }).waitFor();
    await dialog.getByRole('button', { name: 'Merge' }).click();
    expect(await second.getByRole('textbox', { name: /^Places/ }).inputValue()).toBe('250');
    expect(await second.getByLabel('Description').inputValue()).toBe('Mine');
    await second.getByRole('button', { name: 'Save' }).click();
    await second.getByText('Key changed').waitFor();
    expect(await api('GET', `/provisioning-keys/${id}`)).toMatchObject({ description: 'Mine', max_devices: 250 });
  });

  it('revokes a key after a question, with a reason', async ({ panel }) => {
    const { page, show, api } = panel;
    const { id } = await api<{ id: string }>('POST', '/provisioning-keys', { fleet_id: 'old' });
    await show(`/keys/${id}`);
    await page.getByRole('button', { name: 'Revoke …' }).click();
    await page.getByLabel('Reason').fill('It was published');
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.getByText('Key revoked').waitFor();
    await page.getByText('revoked', { exact: true }).waitFor();
    expect(await page.getByRole('button', { name: 'Revoke …' }).count()).toBe(0);
    expect(await api('GET', `/provisioning-keys/${id}`)).toMatchObject({ is_active: false });
  });
});
