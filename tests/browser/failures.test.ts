import { expect } from 'vitest';
import { databaseUnavailable, invalidAdminCredential, tooManyRequests } from '../../lib/errors.ts';
import { FRONT_REQUEST_ID } from '../support/front.ts';
import { describePanel, it, settled } from '../support/panel.ts';
import { createSamples } from '../support/panel-samples.ts';

const isApi = (path: string) => path.startsWith('/api/');

describePanel('a Berth that does not answer as usual', () => {
  it.for([
    { type: tooManyRequests, status: 429 },
    { type: databaseUnavailable, status: 503 },
  ])(
    '$status: shows detail, code and request id, and shows the page when asked again',
    async ({ type, status }, { panel }) => {
      const front = await panel.front();
      panel.expectError(new RegExp(`status of ${status}`));
      const page = await panel.open(`${front.url}/jobs`);
      await page.getByRole('link', { name: 'Move devices' }).waitFor();
      front.decide((_method, path) => (isApi(path) ? type : 'pass'));
      await page.getByRole('link', { name: 'Provisioning keys' }).click();
      const alert = page.getByRole('alert');
      await alert.getByText(type.help).waitFor();
      expect(await alert.textContent()).toContain(type.code);
      expect(await alert.textContent()).toContain(FRONT_REQUEST_ID);
      expect(await alert.textContent()).toMatch(/Repeat it in \d+ s/);
      front.decide(() => 'pass');
      await page.getByRole('button', { name: 'Try again' }).click();
      await page.getByRole('table', { name: /Provisioning keys/ }).waitFor();
      expect(await alert.count()).toBe(0);
    },
  );

  it('401: asks to sign in again over the page, which keeps what was typed', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/status of 401/);
    const page = await panel.open(`${front.url}/keys/new`);
    await page.getByLabel('Fleet').fill('typed before');
    front.decide((_method, path) => (isApi(path) ? invalidAdminCredential : 'pass'));
    await page.getByRole('button', { name: 'Issue the key' }).click();
    const dialog = page.getByRole('dialog', { name: 'Sign in again' });
    await dialog.getByLabel('Admin token').fill('wrong');
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await dialog.getByRole('alert').waitFor();
    front.decide(() => 'pass');
    await dialog.getByLabel('Admin token').fill(panel.stack.adminToken);
    await dialog.getByRole('button', { name: 'Sign in' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await page.getByLabel('Fleet').inputValue()).toBe('typed before');
    await page.getByRole('button', { name: 'Issue the key' }).click();
    await page.getByRole('heading', { name: 'The new provisioning key' }).waitFor();
  });

  it('no reply: says that Berth cannot be reached, and keeps the old numbers with their age', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/ERR_|Failed to load resource/);
    const page = await panel.open(`${front.url}/keys`);
    const table = page.getByRole('table', { name: /Provisioning keys/ });
    await table.waitFor();
    await front.close();
    await page.evaluate('dispatchEvent(new Event("focus"))');
    await page.getByRole('alert').getByText('No reply from Berth arrived.').waitFor();
    expect(await table.count()).toBe(1);
    expect(await page.getByText(/^fetched /).count()).toBe(1);
  });
});

describePanel('a change whose reply never arrives', () => {
  it('issuing a key: says that it was issued, and a repeat shows the same key', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/ERR_|Failed to load resource/);
    const page = await panel.open(`${front.url}/keys/new`);
    await page.getByLabel('Fleet').fill('lost-reply');
    front.decide((method) => (method === 'POST' ? 'lose-reply' : 'pass'));
    await page.getByRole('button', { name: 'Issue the key' }).click();
    await page.getByText('It is not known whether the change was made.').waitFor();
    await page.getByText('The current state shows that the change was made.').waitFor();
    expect(await page.getByLabel('Fleet').inputValue()).toBe('lost-reply');
    front.decide(() => 'pass');
    await page.getByRole('button', { name: 'Issue the key' }).click();
    const key = (await page.locator('.secret code').textContent()) as string;
    // The browser itself has repeated the request, too.
    const { keys } = await panel.api<{ keys: { id: string }[] }>('GET', '/provisioning-keys?fleet_id=lost-reply');
    expect(keys.map(({ id }) => id)).toEqual([key.split('_')[1]]);
  });

  it('issuing a key that never reached Berth: says so, and a repeat issues one key', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/ERR_|Failed to load resource/);
    const page = await panel.open(`${front.url}/keys/new`);
    await page.getByLabel('Fleet').fill('lost-request');
    front.decide((method) => (method === 'POST' ? 'refuse' : 'pass'));
    await page.getByRole('button', { name: 'Issue the key' }).click();
    await page.getByText('It is safe to repeat it.').waitFor();
    front.decide(() => 'pass');
    await page.getByRole('button', { name: 'Issue the key' }).click();
    await page.getByRole('heading', { name: 'The new provisioning key' }).waitFor();
    expect(await panel.api('GET', '/provisioning-keys?fleet_id=lost-request')).toMatchObject({ count: 1 });
  });

  it('a job: finds the job, and a repeat makes no second one', async ({ panel }) => {
    const front = await panel.front();
    panel.expectError(/ERR_|Failed to load resource/);
    const { device } = await createSamples(panel, 'Lost job');
    const target = panel.stack.brokers[1]?.id;
    const page = await panel.open(`${front.url}/jobs/new?uuids=${device}&target=${target}`);
    await page.getByRole('button', { name: 'Show what would move' }).click();
    await page.getByRole('button', { name: 'Move 1 device …' }).click();
    const dialog = page.getByRole('dialog');
    front.decide((method) => (method === 'POST' ? 'lose-reply' : 'pass'));
    await dialog.getByRole('button', { name: 'Move them' }).click();
    const link = dialog.getByRole('link', { name: /^job \d+$/ });
    await link.waitFor();
    const job = Number((await link.textContent())?.slice(4));
    front.decide(() => 'pass');
    await dialog.getByRole('button', { name: 'Move them' }).click();
    await page.waitForURL(`${front.url}/jobs/${job}`);
  });
});

describePanel('a credential that may only read', () => {
  it('sees keys and jobs, and no button that would fail', async ({ panel }) => {
    const { page, show } = panel;
    const { key, job } = await createSamples(panel, 'Only read');
    await page.route('**/api/v1/session', (route) => route.fulfill({ json: { actor: 'reader', scopes: ['read'] } }));
    for (const path of ['/keys', `/keys/${key}`, '/keys/new', '/jobs', `/jobs/${job}`, '/jobs/new']) {
      await show(path);
      await page.getByText('read only', { exact: true }).waitFor();
      await settled(page);
      const changing = page
        .locator('main')
        .getByRole('button', { name: /^(Revoke|Save|Issue|Undo|Resume|Cancel|Show what)/ });
      const forms = page.locator('main').getByRole('link', { name: /^(Issue|Move|Repeat)/ });
      expect({ path, changing: await changing.count(), forms: await forms.count() }).toEqual({
        path,
        changing: 0,
        forms: 0,
      });
    }
  });
});
