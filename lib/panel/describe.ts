import { panelSettings } from '../settings/panel.ts';

/** The names by which a browser reaches this machine. Another name in `Host` can be an attacker's that leads here. */
const THIS_MACHINE = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/**
 * What the panel needs before it signs in. It contains no secret, except in the local stack its token.
 * @param host the header `Host` of the request
 */
export function describePanel(host: string | undefined) {
  const { stage, auth, localToken } = panelSettings();
  const { origins: _, ...named } = { origins: undefined, ...auth };
  return { stage, auth: named, ...(localToken && THIS_MACHINE.test(host ?? '') ? { localToken } : {}) };
}
