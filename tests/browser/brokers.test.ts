import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { describePanel, it, type Panel } from '../support/panel.ts';
import { registerDevice } from '../support/panel-samples.ts';

type BrokerReply = { data: Record<string, unknown> & { id: number } };

const addressOf = ({ stack }: Panel) => new URL(stack.brokers[0]?.url ?? '');
/** The user that the embedded brokers accept for connection tests. `npm start` prints it. */
const probeOf = ({ stack }: Panel) => {
  const { probePassword } = JSON.parse(readFileSync(path.join(stack.dir, '.berth/secrets.json'), 'utf8'));
  return { username: 'berth-probe', password: probePassword as string };
};
const create = async (panel: Panel, more: object = {}) => {
  const body = { name: `broker ${randomUUID()}`, host: 'localhost', port: Number(addressOf(panel).port), ...more };
  return (await panel.api<BrokerReply>('POST', '/mqtt/brokers', body)).data as { id: number; name: string };
};
const get = async (panel: Panel, id: number) =>
  (await panel.api<BrokerReply>('GET', `/mqtt/brokers/${id}`)).data as Record<string, unknown>;
/** Devices that are assigned to this broker. */
const assignDevices = async (panel: Panel, brokerId: number, count: number) => {
  const { key } = await panel.api<{ key: string }>('POST', '/provisioning-keys', {
    ...{ fleet_id: 'brokers', default_broker_id: brokerId },
  });
  const uuids = Array.from({ length: count }, () => randomUUID());
  for (const uuid of uuids) await registerDevice(panel.stack.url, key, uuid, 'Device of a test');
  return uuids;
};
const dialogOf = (page: Page) => page.getByRole('dialog');

describePanel('brokers', () => {
  it('by keyboard only: adds a broker, which passes its connection test stage by stage', async ({ panel }) => {
    const { page, show } = panel;
    const { username, password } = probeOf(panel);
    const name = `added ${randomUUID()}`;
    const press = async (label: string, text: string) => {
      await page.getByLabel(label, { exact: true }).focus();
      await page.keyboard.press('ControlOrMeta+a');
      await page.keyboard.type(text);
    };
    await show('/brokers');
    await page.getByRole('link', { name: 'Add a broker' }).focus();
    await page.keyboard.press('Enter');
    await press('Name required', name);
    await press('Host required', 'localhost');
    await press('Port required', addressOf(panel).port);
    await press('User name', username);
    await press('Password', password);
    await page.keyboard.press('Enter');
    const heading = page.getByRole('heading', { name });
    await heading.waitFor();
    await expect.poll(() => heading.evaluate((one) => one === one.ownerDocument.activeElement)).toBe(true);
    await page.getByRole('button', { name: 'Test the connection' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('A device can connect with these settings.').waitFor();
    const stages = await page.getByRole('list', { name: 'Stages of the connection' }).getByRole('listitem').all();
    const texts = await Promise.all(stages.map((stage) => stage.textContent()));
    expect(texts).toEqual(['Name', 'TCP', 'MQTT'].map((stage) => expect.stringMatching(`^${stage}[\\d.]+ ms$`)));
    // Not to the form, which would add it a second time.
    await page.goBack();
    await page.getByRole('heading', { name: 'Brokers', exact: true }).waitFor();
  });

  it('a test that fails says at which stage, and what to do', async ({ panel }) => {
    const { page, show } = panel;
    const { id } = await create(panel, { port: 1 });
    await show(`/brokers/${id}`);
    await page.getByRole('button', { name: 'Test the connection' }).click();
    await page.getByText('The port is closed. Check the port, and whether the broker runs.').waitFor();
    await page.getByText('connection-refused').waitFor();
    const stages = page.getByRole('list', { name: 'Stages of the connection' });
    expect(await stages.textContent()).toMatch(/^Name[\d.]+ msTCPfailedMQTTnot reached$/);
  });

  it('shows at the field what the specs and what the API say, and keeps what was typed', async ({ panel }) => {
    const { page, show, expectError } = panel;
    await show('/brokers/new');
    await page.getByLabel('Port required').fill('65536');
    await page.getByLabel('Description').fill('kept');
    await page.getByRole('button', { name: 'Add the broker' }).click();
    const port = page.getByLabel('Port required');
    await page.getByText('must be a whole number from 1 to 65535').waitFor();
    expect(await port.getAttribute('aria-invalid')).toBe('true');
    await page.getByLabel('Name required').fill(`wrong ${randomUUID()}`);
    await page.getByLabel('Host required').fill('http://localhost');
    await port.fill('1883');
    expectError(/status of 400/);
    await page.getByRole('button', { name: 'Add the broker' }).click();
    await page.locator('.field-error', { hasText: 'without scheme, port, path' }).waitFor();
    const host = page.getByLabel('Host required');
    await expect.poll(() => host.evaluate((one) => one === one.ownerDocument.activeElement)).toBe(true);
    expect(await page.getByLabel('Description').inputValue()).toBe('kept');
  });

  it('drains a broker and takes it back; Back closes the dialog', async ({ panel }) => {
    const { page, show } = panel;
    const { id } = await create(panel);
    await show(`/brokers/${id}`);
    await page.getByRole('button', { name: 'Drain' }).click();
    await dialogOf(page).waitFor();
    expect(page.url()).toMatch(/\?do=drain$/);
    await page.goBack();
    await dialogOf(page).waitFor({ state: 'detached' });
    expect(await get(panel, id)).toMatchObject({ accepts_new_devices: true });
    await page.getByRole('button', { name: 'Drain' }).click();
    await dialogOf(page).getByRole('button', { name: 'Drain' }).click();
    await page.getByText('draining', { exact: true }).waitFor();
    expect(await get(panel, id)).toMatchObject({ accepts_new_devices: false });
    await page.getByRole('button', { name: 'Accept devices again' }).click();
    await dialogOf(page).getByRole('button', { name: 'Accept devices' }).click();
    await page.getByText('active', { exact: true }).waitFor();
    expect(await get(panel, id)).toMatchObject({ accepts_new_devices: true });
  });

  it('a change of what another operator has changed is refused, and then is about the broker as it is', async ({
    panel,
  }) => {
    const { page, show, api, expectError } = panel;
    const { id } = await create(panel);
    await show(`/brokers/${id}?do=drain`);
    await dialogOf(page).waitFor();
    await api('PUT', `/mqtt/brokers/${id}`, { description: 'theirs' });
    expectError(/status of 412/);
    await dialogOf(page).getByRole('button', { name: 'Drain' }).click();
    await dialogOf(page).getByText('precondition-failed').waitFor();
    await page.getByText('theirs', { exact: true }).waitFor();
    expect(await get(panel, id)).toMatchObject({ accepts_new_devices: true });
    await dialogOf(page).getByRole('button', { name: 'Drain' }).click();
    await page.getByText('It is draining').waitFor();
    expect(await get(panel, id)).toMatchObject({ accepts_new_devices: false, description: 'theirs' });
  });

  it('the curl command of an action does the same, and contains no token', async ({ panel }) => {
    const { page, show, stack } = panel;
    const { id } = await create(panel);
    await show(`/brokers/${id}?do=drain`);
    await dialogOf(page).getByText('As a curl command').click();
    const command = (await dialogOf(page).locator('pre').textContent()) as string;
    expect(command).not.toContain(stack.adminToken);
    const env = { ...process.env, BERTH_TOKEN: stack.adminToken };
    const reply = execFileSync('bash', ['-c', command.replace('localhost', '127.0.0.1')], { env, stdio: 'pipe' });
    expect(JSON.parse(reply.toString())).toMatchObject({ data: { id, accepts_new_devices: false } });
  });

  it('deletes a broker after the number of its devices was typed, and moves them', async ({ panel }) => {
    const { page, show, api } = panel;
    const { id, name } = await create(panel);
    const uuids = await assignDevices(panel, id, 2);
    await show(`/brokers/${id}`);
    await page.getByRole('button', { name: 'Delete' }).click();
    await dialogOf(page).getByText('2 devices assigned to it').waitFor();
    await dialogOf(page)
      .getByLabel('Move its devices to')
      .selectOption({ label: panel.stack.brokers[1]?.name ?? '' });
    const remove = dialogOf(page).getByRole('button', { name: 'Delete' });
    expect(await remove.isDisabled()).toBe(true);
    await dialogOf(page).getByRole('textbox').fill('3');
    expect(await remove.isDisabled()).toBe(true);
    await dialogOf(page).getByRole('textbox').fill('2');
    await remove.click();
    await page.getByText('Broker deleted').waitFor();
    await page.waitForURL(/\/brokers$/);
    expect(await page.getByRole('link', { name }).count()).toBe(0);
    for (const uuid of uuids) {
      const { device } = await api<{ device: object }>('GET', `/devices/${uuid}`);
      expect(device).toMatchObject({ mqtt_broker_id: panel.stack.brokers[1]?.id });
    }
  });

  it('a broker that devices need becomes inactive only by force, after their number was typed', async ({ panel }) => {
    const { page, show, expectError } = panel;
    const { id } = await create(panel);
    await assignDevices(panel, id, 2);
    await show(`/brokers/${id}?do=deactivate`);
    expectError(/status of 409/);
    await dialogOf(page).getByRole('button', { name: 'Deactivate' }).click();
    await dialogOf(page).getByText('broker-has-devices').waitFor();
    const force = dialogOf(page).getByRole('button', { name: 'Deactivate anyway' });
    expect(await force.isDisabled()).toBe(true);
    expect(await get(panel, id)).toMatchObject({ is_active: true });
    await dialogOf(page).getByRole('textbox').fill('2');
    await force.click();
    await page.getByText('It is inactive').waitFor();
    expect(await get(panel, id)).toMatchObject({ is_active: false });
  });

  it('after a lost reply, says what the current state shows; after a lost request, a repeat is made once', async ({
    panel,
  }) => {
    const front = await panel.front();
    panel.expectError(/ERR_|Failed to load resource/);
    const { id } = await create(panel);
    const page = await panel.open(`${front.url}/brokers/${id}/edit`);
    const description = page.getByLabel('Description');
    const save = page.getByRole('button', { name: 'Save' });
    await description.fill('first');
    front.decide((method) => (method === 'PUT' ? 'refuse' : 'pass'));
    await save.click();
    await page.getByText('The current state shows that the change was not made.').waitFor();
    expect(await description.inputValue()).toBe('first');
    front.decide((method) => (method === 'PUT' ? 'lose-reply' : 'pass'));
    await save.click();
    await page.getByText('The current state shows that the change was made.').waitFor();
    expect(await get(panel, id)).toMatchObject({ description: 'first' });
    // Nothing is left to save, and the next change is not taken for a conflict with the operator's own one.
    expect(await save.isDisabled()).toBe(true);
    front.decide(() => 'pass');
    await description.fill('second');
    await save.click();
    await page.waitForURL(`${front.url}/brokers/${id}`);
    expect(await get(panel, id)).toMatchObject({ description: 'second' });
  });
});
