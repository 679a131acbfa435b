import pg from 'pg';
import { expect } from 'vitest';
import { describePanel, it, type Panel, settled } from '../support/panel.ts';

const CODES = [
  'invalid-provisioning-key',
  'device-inactive',
  'provisioning-key-expired',
  'device-in-other-fleet',
  'key-mismatch',
];

/** Runs SQL on the stack's database. */
async function sql({ stack }: Panel, text: string, values: unknown[] = []) {
  const client = new pg.Client(stack.databaseUrl);
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** Counts of ten minutes ago, as the schedule stores them: 12 registrations, and refusals of five codes. */
async function storeCounts(panel: Panel): Promise<void> {
  await sql(panel, `update event_counting set counted_at = now()`);
  await sql(
    panel,
    `insert into event_counts (resolution, at, kind, code, events)
    select 'minute', date_trunc('minute', now() - interval '10 minutes'), kind, code, events
    from (select 'registered' as kind, '' as code, 12 as events
          union all select 'refused', code, 10 - n::integer from unnest($1::text[]) with ordinality as t (code, n)) counts
    on conflict (resolution, at, kind, code) do update set events = excluded.events`,
    [CODES],
  );
}

describePanel('the overview', () => {
  it('a chart has its numbers as a table too, by keyboard; rare codes are one series', async ({ panel }) => {
    const { page, show } = panel;
    await storeCounts(panel);
    await show('/');
    await page.locator('.chart-canvas canvas').first().waitFor();
    const summary = page.getByText('Refusals in the last 3 hours as a table');
    await summary.focus();
    await page.keyboard.press('Enter');
    const table = page.getByRole('table', { name: 'Refusals in the last 3 hours' });
    await table.waitFor();
    const row = table.getByRole('row').filter({ hasText: '9' }).first();
    expect((await table.getByRole('columnheader').allTextContents()).slice(1)).toEqual([...CODES.slice(0, 3), 'other']);
    expect((await row.getByRole('cell').allTextContents()).map(Number)).toEqual([9, 8, 7, 6 + 5]);
    const chart = page.getByRole('img', { name: /^Registrations in the last 3 hours/ });
    expect(await chart.getAttribute('aria-label')).toMatch(/Registrations: \d+/);
  });

  it('shows hours of a week, and Back returns to the minutes', async ({ panel }) => {
    const { page, show } = panel;
    await storeCounts(panel);
    await show('/');
    await settled(page);
    await page.getByRole('link', { name: '7 days by hour' }).click();
    await page.waitForURL('**/?by=hour');
    await page.goBack();
    await page.locator('[aria-current="true"]', { hasText: '3 hours by minute' }).waitFor();
  });

  it('what needs attention leads to its page', async ({ panel }) => {
    const { page, show, api } = panel;
    const { id } = await api<{ id: string }>('POST', '/provisioning-keys', {
      ...{ fleet_id: 'north', description: 'Expires soon', expires_in_days: 2 },
    });
    await show('/');
    const row = page.getByRole('row').filter({ hasText: 'Expires soon' }).first();
    await row.waitFor();
    expect(await row.getByRole('link').getAttribute('href')).toMatch(/^\/keys\//);
    await api('DELETE', `/provisioning-keys/${id}`);
  });

  it('says how old numbers are, and when nobody counts any more', async ({ panel }) => {
    const { page, show } = panel;
    const old = `insert into broker_counts select id, 1, 1, 1, 1, 1, 0, now() - interval '1 hour' from mqtt_broker_config
      on conflict (broker_id) do update set counted_at = excluded.counted_at`;
    // The schedule may count in between.
    await expect
      .poll(
        async () => {
          await sql(panel, old);
          await show('/');
          await settled(page);
          return page.getByText('The schedule count-stats has not run since').count();
        },
        { timeout: 20_000 },
      )
      .toBe(1);
    expect(await page.getByText('Counted 1 hr. ago').count()).toBeGreaterThan(0);
  });

  it('asks again every 10 s while it is visible, and not on another page', async ({ panel }) => {
    const front = await panel.front();
    const page = await panel.open(`${front.url}/`);
    await settled(page);
    const asked = () => front.passed.filter(({ path }) => path.startsWith('/api/v1/stats')).length;
    const before = asked();
    await expect.poll(asked, { timeout: 15_000 }).toBeGreaterThan(before);
    await page.getByRole('link', { name: 'Brokers' }).first().click();
    await page.waitForURL('**/brokers');
    const left = asked();
    await page.waitForTimeout(11_000);
    expect(asked()).toBe(left);
  });

  it('without a broker, it says what to do first', async ({ panel }) => {
    const { page, show } = panel;
    await page.route('**/api/v1/stats*', (route) => {
      const now = new Date().toISOString();
      const none = { brokers: [], keys: [], certificates: [], points: [] };
      return route.fulfill({ json: { generated_at: now, resolution: 'minute', from: now, to: now, ...none } });
    });
    await show('/');
    await page.getByText('There is no broker yet').waitFor();
    expect(await page.getByRole('link', { name: 'Add the first broker' }).getAttribute('href')).toBe('/brokers/new');
  });
});
