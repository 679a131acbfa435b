import { signal } from '@preact/signals';

/** A result that is shown for a while and read to screen readers. */
export type Toast = { id: number; text: string };

const SHOWN_MS = 6_000;
let last = 0;
export const toasts = signal<Toast[]>([]);

/** Says a result: `Broker created`. Failures are shown where they happened instead. */
export function announce(text: string): void {
  last++;
  const toast = { id: last, text };
  toasts.value = [...toasts.value.slice(-2), toast];
  setTimeout(() => dismiss(toast.id), SHOWN_MS);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}
