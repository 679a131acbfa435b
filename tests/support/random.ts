/** Random numbers that a seed repeats (mulberry32). */
export type Random = {
  seed: number;
  /** From 0 up to, not including, `n`. */
  below(n: number): number;
  between(min: number, max: number): number;
  pick<T>(list: readonly T[]): T;
};

/** @param seed of this run, unless the environment has another: `SEED=123 npx vitest …` */
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
    below: (n) => Math.floor(next() * n),
    between: (min, max) => Math.round(min + next() * (max - min)),
    pick: (list) => list[Math.floor(next() * list.length)] as never,
  };
}
