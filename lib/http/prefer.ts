/**
 * Whether a client asks to be answered before the work is done: `Prefer: respond-async` (RFC 7240), also beside other
 * preferences.
 */
export function prefersAsync(headers: Readonly<Record<string, string | undefined>>): boolean {
  const preferences = (headers.prefer ?? '').split(',').map((one) => one.split(/[;=]/)[0]?.trim().toLowerCase());
  return preferences.includes('respond-async');
}
