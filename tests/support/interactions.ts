import type { Page } from 'playwright-core';

/** `duration`: milliseconds from the input to the next paint. */
export type Interaction = { name: string; duration: number };

/** Each interaction with the page from now on, as the browser measures it for "interaction to next paint". */
export async function watchInteractions(page: Page): Promise<() => Promise<Interaction[]>> {
  await page.evaluate(() => {
    const seen: Interaction[] = [];
    Object.assign(globalThis, { interactions: seen });
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as unknown as (Interaction & { interactionId?: number })[]) {
        if (entry.interactionId) seen.push({ name: entry.name, duration: entry.duration });
      }
    });
    // The browser reports what takes 16 ms or longer; Node's types do not know the threshold.
    observer.observe({ type: 'event', durationThreshold: 16 } as object as { type: 'function' });
  });
  return () => page.evaluate(() => (globalThis as unknown as { interactions: Interaction[] }).interactions);
}
