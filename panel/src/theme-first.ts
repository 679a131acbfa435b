/**
 * Runs before the first paint, as a file of its own because the CSP forbids inline code: a chosen theme must not flash.
 * theme.ts writes the same attribute later.
 */
try {
  const chosen = localStorage.getItem('berth-theme');
  if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage, the system's theme applies.
}
