/** Random numbers that are reproducible by their seed (mulberry32). */
export type Random = {
  seed: number;
  between(min: number, max: number): number;
  pick<T>(list: readonly T[]): T;
  shuffled<T>(list: readonly T[]): T[];
};

/** @param seed default: the environment's (`SEED=123 npx vitest …`), or one from the clock */
export function seeded(seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    seed,
    between: (min, max) => Math.round(min + next() * (max - min)),
    pick: (list) => list[Math.floor(next() * list.length)] as never,
    shuffled: (list) =>
      list
        .map((item) => ({ item, order: next() }))
        .sort((a, b) => a.order - b.order)
        .map(({ item }) => item),
  };
}
