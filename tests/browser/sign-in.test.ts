import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { reloadSettings } from '../../lib/settings/settings.ts';
import { buildPanelIfChanged } from '../../tools/build-panel.ts';
import { type Gateway, startGateway } from '../support/gateway.ts';
import { type Issuer, startOidcIssuer } from '../support/oidc-issuer.ts';
import { describePanel, it, type Panel, settled } from '../support/panel.ts';

/** The panel of a Berth with ADMIN_AUTH=jwt, and a real OpenID Connect provider. Its pages here need no database. */
let issuer: Issuer;
let berth: Gateway;
beforeAll(async () => {
  await buildPanelIfChanged();
  [issuer, berth] = await Promise.all([startOidcIssuer(), startGateway()]);
});
afterAll(() => Promise.all([issuer.close(), berth.close()]));
beforeEach(() => {
  issuer.next = {};
  setEnv({});
});

function setEnv(more: Record<string, string>): void {
  Object.assign(process.env, {
    ...{ ADMIN_AUTH: 'jwt', ADMIN_JWT_ISSUER: issuer.url, ADMIN_JWT_AUDIENCE: 'berth' },
    ...{ ADMIN_JWT_JWKS_URL: '', PANEL_OIDC_CLIENT_ID: 'panel', BERTH_STAGE: 'prod', ...more },
  });
  reloadSettings();
}

/** The sign-in page at an address of the panel. */
async function signInPage(panel: Panel, path: string) {
  panel.expectError(new RegExp(`request to another origin: ${issuer.url}/`));
  const page = await panel.open(berth.url + path);
  await page.getByText(`You sign in at ${new URL(issuer.url).host}`).waitFor();
  return { page, signIn: () => page.getByRole('button', { name: 'Sign in' }).click() };
}

describePanel('sign-in at an issuer', () => {
  it('leads to the issuer and back to the same address, without a code in it; the tab stays signed in', async ({
    panel,
  }) => {
    const { page, signIn } = await signInPage(panel, '/api-reference?search=session');
    const during: unknown[] = [];
    await page.route('**/panel-settings.json', async (route) => {
      during.push(await page.evaluate('location.href'));
      await route.continue();
    });
    await signIn();
    await page.getByText('admin:operator-7').waitFor();
    await settled(page);
    expect(page.url()).toBe(`${berth.url}/api-reference?search=session`);
    expect(during).toEqual([`${berth.url}/sign-in`]);
    expect(await page.getByText('read only').count()).toBe(0);
    await page.reload();
    await page.getByText('admin:operator-7').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
  });

  it('a credential without the scope to write sees no button that changes something', async ({ panel }) => {
    issuer.next = { accessToken: { scope: 'openid berth:read' } };
    const { page, signIn } = await signInPage(panel, '/api-reference');
    await signIn();
    await page.getByText('read only').waitFor();
  });

  it('a Berth that cannot check the credential for a moment does not sign anybody out', async ({ panel }) => {
    const { page, signIn } = await signInPage(panel, '/api-reference');
    await signIn();
    await page.getByText('admin:operator-7').waitFor();
    panel.expectError(/status of 503/);
    setEnv({ ADMIN_JWT_JWKS_URL: 'http://127.0.0.1:9/keys' });
    await page.reload();
    await page.getByRole('alert').getByText('issuer-unavailable').waitFor();
    setEnv({});
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByText('admin:operator-7').waitFor();
  });

  it('says why the issuer refused, and signs in at the second attempt', async ({ panel }) => {
    issuer.next = { redirect: { error: 'access_denied', error_description: 'You are no operator' } };
    const { page, signIn } = await signInPage(panel, '/api-reference');
    await signIn();
    await page.getByRole('alert').getByText('The issuer says: You are no operator.').waitFor();
    expect(page.url()).toBe(`${berth.url}/api-reference`);
    issuer.next = {};
    await signIn();
    await page.getByText('admin:operator-7').waitFor();
  });

  it('a reply of the issuer that nobody asked for signs nobody in', async ({ panel }) => {
    const { page } = await signInPage(panel, '/sign-in?code=of-an-attacker&state=of-an-attacker');
    await page.getByRole('alert').getByText('This tab has not begun to sign in').waitFor();
    expect(page.url()).toBe(`${berth.url}/sign-in`);
  });

  it('signs in again in a new tab when the token is no longer accepted; the page keeps what was typed', async ({
    panel,
  }) => {
    const { page, signIn } = await signInPage(panel, '/api-reference?search=device');
    await signIn();
    await page.getByText('admin:operator-7').waitFor();
    panel.expectError(/status of 401/);
    setEnv({ ADMIN_JWT_AUDIENCE: 'another' });
    await page.getByRole('searchbox', { name: 'Search' }).fill('typed before');
    await page.keyboard.press('Control+k');
    await page.keyboard.type('pump');
    const dialog = page.getByRole('dialog', { name: 'Sign in again' });
    await dialog.waitFor();
    setEnv({});
    const opened = page.context().waitForEvent('page');
    await dialog.getByRole('button', { name: 'Sign in in a new tab' }).click();
    const tab = await opened;
    await tab.getByText('you can close this one').waitFor();
    await dialog.waitFor({ state: 'detached' });
    expect(await page.getByRole('searchbox', { name: 'Search' }).inputValue()).toBe('typed before');
    expect(tab.url()).toBe(`${berth.url}/sign-in?done`);
  });
});
