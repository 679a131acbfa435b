import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, it as base, beforeAll, expect, inject } from 'vitest';
import type { SharedStack } from './browser-stack.ts';
import { type Front, startFront } from './front.ts';
import { describeInstalled, programPath } from './installed.ts';

/** Ignored by git. */
export const SCREENSHOTS = fileURLToPath(new URL('../../.screenshots/', import.meta.url));
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** How long the panel may take to show what a test waits for. */
const PATIENCE_MS = 10_000;

export type Panel = {
  stack: SharedStack;
  /** An empty page of a new browser context. On the local stack the panel is signed in. */
  page: Page;
  /** Shows a path of the panel, such as `/keys`. */
  show: (path: string) => Promise<void>;
  /** Another page: of another operator, of another width, at another server. It is watched like the first. */
  open: (url: string, options?: BrowserContextOptions) => Promise<Page>;
  /** A server before the stack that loses and refuses what the test says, until the test's pages are closed. */
  front: () => Promise<Front>;
  /** Calls Berth's API as an operator. @throws AssertionError for a reply that is an error */
  api: <T = Record<string, unknown>>(method: string, path: string, body?: object) => Promise<T>;
  /** Permits an error in the console that the test causes itself. */
  expectError: (pattern: RegExp) => void;
};

let browser: Browser | undefined;
let stack: SharedStack | undefined;

/** Tests of the panel in Debian's Chromium, on the local stack. Without Chromium they are skipped; in CI they fail. */
export function describePanel(title: string, tests: () => void): void {
  describeInstalled(title, ['chromium'], ['chromium', 'fonts-dejavu-core', 'fonts-noto-color-emoji'], () => {
    beforeAll(async () => {
      [browser, stack] = await Promise.all([launch(), sharedStack()]);
    });
    afterAll(() => browser?.close());
    tests();
  });
}

const launch = () => chromium.launch({ executablePath: programPath('chromium') as string, args: ARGUMENTS });

async function sharedStack(): Promise<SharedStack> {
  const reply = await fetch(inject('browserStackUrl'));
  if (!reply.ok) throw new Error(await reply.text());
  return (await reply.json()) as SharedStack;
}

/**
 * A test with a {@link Panel}. It fails for each error in a console, violation of the CSP and request to another origin,
 * unless the test expects it.
 */
export const it = base.extend<{ panel: Panel }>({
  panel: async ({ task }, use) => {
    const running = stack as SharedStack;
    const problems: string[] = [];
    const expected: RegExp[] = [];
    const contexts: { close: () => Promise<void>; page: Page }[] = [];
    const fronts: Front[] = [];
    const create = async (origin: string, options: BrowserContextOptions = {}) => {
      const context = await (browser as Browser).newContext({ reducedMotion: 'reduce', ...options });
      context.setDefaultTimeout(PATIENCE_MS);
      const page = await context.newPage();
      contexts.push({ close: () => context.close(), page });
      watch(page, origin, problems);
      return page;
    };
    const page = await create(running.url);
    await use({
      ...{ stack: running, page, api: caller(running) },
      show: async (path) => void (await page.goto(`${running.url}${path}`)),
      open: async (url, options) => {
        const opened = await create(new URL(url).origin, options);
        await opened.goto(url);
        return opened;
      },
      front: async () => {
        const front = await startFront(running.url.replace('localhost', '127.0.0.1'));
        fronts.push(front);
        return front;
      },
      expectError: (pattern) => expected.push(pattern),
    });
    if (task.result?.state === 'fail') await keepPictures(task.name, contexts);
    await Promise.all(contexts.map((one) => one.close()));
    await Promise.all(fronts.map((one) => one.close()));
    expect(problems.filter((problem) => !expected.some((pattern) => pattern.test(problem)))).toEqual([]);
  },
});

/** Waits until a page has what it shows: a heading, and nothing that is still loading. */
export async function settled(page: Page): Promise<void> {
  await page.getByRole('heading', { level: 1 }).waitFor();
  const loading = page.locator('.loading');
  await expect.poll(() => loading.count(), { timeout: PATIENCE_MS }).toBe(0);
}

/** What a request does not finish within 2 s, the worker does within a minute. */
export const WORKER_MS = 90_000;

/**
 * Opens a dialog that asks for the number of devices, types the number that it names, and confirms.
 * @returns the number
 */
export async function confirmNumber(page: Page, opener: Locator, verb: string): Promise<number> {
  await opener.click();
  const dialog = page.getByRole('dialog');
  const field = dialog.getByLabel(/^Type .* to confirm$/);
  const devices = (await dialog.locator('label strong').first().textContent()) as string;
  expect(await dialog.getByRole('button', { name: verb, exact: true }).isDisabled()).toBe(true);
  await field.fill(devices);
  await dialog.getByRole('button', { name: verb, exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
  return Number(devices.replaceAll(',', ''));
}

function watch(page: Page, origin: string, problems: string[]): void {
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.stack ?? error.message}`));
  page.on('request', (request) => {
    const { protocol, origin: requested } = new URL(request.url());
    const isInside = requested === origin || protocol === 'data:' || protocol === 'blob:';
    if (!isInside) problems.push(`request to another origin: ${request.url()}`);
  });
}

function caller({ url, adminToken }: SharedStack): Panel['api'] {
  return async (method, path, body) => {
    const reply = await fetch(`${url.replace('localhost', '127.0.0.1')}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}` },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await reply.text();
    expect(reply.ok, `${method} ${path}: ${reply.status} ${text}`).toBe(true);
    return JSON.parse(text);
  };
}

/** With SCREENSHOTS=1: pictures to look at, in .screenshots/. */
export async function keepPicture(page: Page, name: string, options: { fullPage?: boolean } = {}): Promise<void> {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), ...options });
}

/** What the pages of a failed test show. */
async function keepPictures(name: string, contexts: { page: Page }[]): Promise<void> {
  const dir = path.join(SCREENSHOTS, 'failed');
  mkdirSync(dir, { recursive: true });
  for (const [number, { page }] of contexts.entries()) {
    const file = `${name.replaceAll(/\W+/g, '-')}-${number + 1}.png`;
    await page.screenshot({ path: path.join(dir, file) }).catch(() => {});
  }
}
