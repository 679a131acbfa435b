import type { Page } from 'playwright-core';

/** `duration`: milliseconds from the input to the next paint. */
export type Interaction = { name: string; duration: number; target: string };

type Entry = { name: string; duration: number; interactionId?: number; target?: { textContent: string } };

/** Each interaction with the page from now on, as the browser measures it for "interaction to next paint". */
export async function watchInteractions(page: Page): Promise<() => Promise<Interaction[]>> {
  await page.evaluate(() => {
    const seen: Interaction[] = [];
    Object.assign(globalThis, { interactions: seen });
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as unknown as Entry[]) {
        if (entry.interactionId)
          seen.push({ name: entry.name, duration: entry.duration, target: entry.target?.textContent ?? '' });
      }
    });
    // The browser reports what takes 16 ms or longer; Node's types do not know the threshold.
    observer.observe({ type: 'event', durationThreshold: 16 } as object as { type: 'function' });
  });
  return () => page.evaluate(() => (globalThis as unknown as { interactions: Interaction[] }).interactions);
}
