import { panelSettings } from '../settings/panel.ts';

/** The headers of every reply of the panel's function. Only its page may load anything: {@link pagePolicy}. */
export const securityHeaders = {
  'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
} as const;

/**
 * The Content-Security-Policy of the page: its own files, its own API, and the issuer of tokens. No code in the page itself,
 * and none from a text (Trusted Types).
 */
export function pagePolicy(): string {
  const { auth } = panelSettings();
  const issuer = auth.kind === 'oidc' ? auth.origins : [];
  return [
    securityHeaders['content-security-policy'],
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    ["connect-src 'self'", ...issuer].join(' '),
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}
