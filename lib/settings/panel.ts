import { type Settings, SettingsError, settings } from './settings.ts';

/** What the panel's function needs to know. Apart from settings.ts, so that no other function contains it. */
export type PanelSettings = {
  stage: string;
  /** How an operator signs in: a token, an issuer of tokens (OpenID Connect), or whatever is in front of Berth. */
  auth:
    | { kind: 'token' | 'gateway' }
    | { kind: 'oidc'; issuer: string; clientId: string; scopes: string; origins: string[] };
  /** In the local stack: the operators' token, so that its panel opens signed in. */
  localToken: string | undefined;
};

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Reads the settings of the panel from the environment.
 * @throws SettingsError in one sentence when one is wrong
 */
export function panelSettings(env: Env = process.env, all: Settings = settings()): PanelSettings {
  return {
    stage: env.BERTH_STAGE || 'berth',
    auth: authOf(env, all),
    localToken: all.isLocalStack ? env.PANEL_LOCAL_TOKEN || undefined : undefined,
  };
}

function authOf(env: Env, { adminAuth, adminJwt }: Settings): PanelSettings['auth'] {
  const clientId = env.PANEL_OIDC_CLIENT_ID;
  if (!clientId) return { kind: adminAuth === 'none' && !adminJwt.issuer ? 'gateway' : 'token' };
  const { issuer, scopes } = adminJwt;
  if (!issuer) throw new SettingsError('PANEL_OIDC_CLIENT_ID needs ADMIN_JWT_ISSUER, the issuer of the tokens.');
  const origins = [issuer, ...(env.PANEL_OIDC_ORIGINS?.split(',') ?? [])].map((url) => originOf(url.trim()));
  return {
    kind: 'oidc',
    issuer,
    clientId,
    scopes: env.PANEL_OIDC_SCOPES || `openid ${scopes.read} ${scopes.write}`,
    origins: [...new Set(origins)],
  };
}

/** They become part of the Content-Security-Policy. */
function originOf(url: string): string {
  if (/^https?:\/\//.test(url) && URL.canParse(url)) return new URL(url).origin;
  throw new SettingsError(
    `PANEL_OIDC_ORIGINS and ADMIN_JWT_ISSUER must be addresses such as https://login.example.com: "${url}" is none.`,
  );
}
