import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { describePanel, it, WORKER_MS } from '../support/panel.ts';

const COUNT = 10_000;

describePanel('bulk-assign', () => {
  it('by keyboard only: shows what would move, runs the job after the number is typed, and undoes it', async ({
    panel,
  }) => {
    const { page, show, stack, api } = panel;
    execFileSync(process.execPath, ['local/seed.ts', String(COUNT)], { cwd: stack.dir, stdio: 'pipe' });
    const second = stack.brokers[1] as { id: number };
    const preview = await api<{ would_move: number }>('POST', '/devices/bulk-assign', {
      filter: { fleet_id: 'seed-1' },
      target: { mqtt_broker_id: second.id },
      dry_run: true,
    });
    const devices = preview.would_move.toLocaleString('en');

    await show('/jobs');
    await page.getByRole('link', { name: 'Move devices' }).focus();
    await page.keyboard.press('Enter');
    await page.getByLabel('Fleet').focus();
    await page.keyboard.type('seed-1');
    const target = page.getByRole('combobox', { name: /^Broker/ });
    await target.focus();
    await page.keyboard.type('local-2');
    await page.getByRole('button', { name: 'Show what would move' }).focus();
    await page.keyboard.press('Enter');
    const run = page.getByRole('button', { name: `Move ${devices} devices …` });
    await run.waitFor();
    expect(new URL(page.url()).searchParams.get('fleet_id')).toBe('seed-1');
    expect(await page.getByRole('table', { name: 'The first devices that would move' }).getByRole('row').count()).toBe(
      11,
    );

    await run.focus();
    await page.keyboard.press('Enter');
    const confirm = page.getByRole('button', { name: 'Move them' });
    expect(await confirm.isDisabled()).toBe(true);
    await page.getByLabel(/^Type .* to confirm$/).focus();
    await page.keyboard.type(devices);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: /^Job \d+$/ }).waitFor();
    await page.getByText('finished', { exact: true }).waitFor({ timeout: WORKER_MS });
    const job = Number(page.url().split('/').at(-1));
    expect(await api('GET', `/devices/bulk-assign/${job}`)).toMatchObject({ moved: preview.would_move });

    await page.getByRole('button', { name: 'Undo …' }).focus();
    await page.keyboard.press('Enter');
    await page.getByLabel(/^Type .* to confirm$/).focus();
    await page.keyboard.type(devices);
    await page.keyboard.press('Enter');
    // Another job. Ids may have gaps.
    await page.waitForURL(({ pathname }) => /^\/jobs\/\d+$/.test(pathname) && pathname !== `/jobs/${job}`);
    await page.getByText('undoes').waitFor();
    await page.getByText('finished', { exact: true }).waitFor({ timeout: WORKER_MS });
    const again = await api<{ would_move: number }>('POST', '/devices/bulk-assign', {
      filter: { fleet_id: 'seed-1' },
      target: { mqtt_broker_id: second.id },
      dry_run: true,
    });
    expect(again.would_move).toBe(preview.would_move);
  }, 240_000);

  it('another filter needs another dry run', async ({ panel }) => {
    const { page, show } = panel;
    await show('/jobs/new?all=true&target=default');
    await page.getByRole('button', { name: 'Show what would move' }).click();
    await page.getByRole('heading', { name: /would move$/ }).waitFor();
    await page.getByLabel('Every device').uncheck();
    await page.getByRole('heading', { name: /would move$/ }).waitFor({ state: 'detached' });
  });

  it('shows at the field what the API says of a filter', async ({ panel }) => {
    const { page, show, expectError } = panel;
    expectError(/status of 400/);
    await show('/jobs/new?tags=a%20b:c&target=default');
    await page.getByRole('button', { name: 'Show what would move' }).click();
    await page.locator('.field-error').waitFor();
    expect(await page.getByLabel('Tags').getAttribute('aria-invalid')).toBe('true');
    expect(await page.getByLabel('Tags').inputValue()).toBe('a b:c');
  });

  it('polls an open job with its ETag and a finished one not at all, cancels it and resumes it', async ({ panel }) => {
    const { page, show, stack, api } = panel;
    const polls: number[] = [];
    const { id } = await api<{ id: number }>('POST', '/devices/bulk-assign', {
      filter: { fleet_id: 'seed-2' },
      target: { mqtt_broker_id: stack.brokers[1]?.id },
      // Rarely enough that most polls find it unchanged, also while the worker runs.
      max_per_minute: 1,
    });
    page.on('response', (response) => {
      if (response.url().endsWith(`/devices/bulk-assign/${id}`)) polls.push(response.status());
    });
    await show(`/jobs/${id}`);
    await page.getByText('running', { exact: true }).waitFor();
    await expect.poll(() => polls.filter((status) => status === 304).length, { timeout: 10_000 }).toBeGreaterThan(1);
    await page.getByRole('button', { name: 'Cancel the job …' }).click();
    await page.getByRole('button', { name: 'Cancel the job', exact: true }).click();
    await page.getByText('cancelled', { exact: true }).waitFor();
    await page.waitForTimeout(300);
    const count = polls.length;
    await page.waitForTimeout(2_500);
    expect(polls.length).toBe(count);

    await page.getByRole('button', { name: 'Resume …' }).click();
    await page.getByLabel(/^Type .* to confirm$/).waitFor();
    await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  });

  it('lists what became of each device, and downloads it as CSV', async ({ panel }) => {
    const { page, show, api } = panel;
    const { jobs } = await api<{ jobs: { id: number; moved: number; skipped: number; already_there: number }[] }>(
      'GET',
      '/devices/bulk-assign',
    );
    const job = jobs.find(({ moved }) => moved > 100) as (typeof jobs)[number];
    await show(`/jobs/${job.id}`);
    await page.getByLabel('Outcome').selectOption('moved');
    await page.waitForURL(/outcome=moved/);
    await page.getByRole('link', { name: 'Next' }).click();
    await page.waitForURL(/after=/);
    await page.goBack();
    await page.waitForURL((url) => !url.searchParams.has('after'));
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download CSV' }).click(),
    ]);
    expect(download.suggestedFilename()).toBe(`job-${job.id}.csv`);
    const lines = readFileSync(await download.path(), 'utf8')
      .trim()
      .split('\r\n');
    expect(lines).toHaveLength(job.moved + 1);
    expect(lines[0]).toMatch(/^id,at,device_uuid/);
  });
});
