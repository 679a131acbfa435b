import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { mutated, ROOT, readMutations, sampleOf } from '../../tools/mutate.ts';
import { testsOf } from '../../tools/stryker.ts';

const mutations = readMutations();
const text = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

it.each(mutations)('$file contains what to mutate exactly once ($why)', (mutation) => {
  const { file, tests, why } = mutation;
  expect(mutated(text(file), mutation)).not.toBe(text(file));
  expect(why).not.toBe('');
  expect(tests.length).toBeGreaterThan(0);
  expect(tests.filter((test) => !existsSync(path.join(ROOT, test)))).toEqual([]);
});

it('no mutation is listed twice', () => {
  const keys = mutations.map(({ file, search, replace }) => JSON.stringify([file, search, replace]));
  expect(keys.length).toBe(new Set(keys).size);
});

it('a text that occurs twice, or not at all, is an error', () => {
  const [first] = mutations;
  if (!first) throw new Error('no mutations');
  expect(() => mutated('a a', { ...first, search: 'a' })).toThrow('2 times');
  expect(() => mutated('b', { ...first, search: 'a' })).toThrow('0 times');
});

it('the same seed selects the same sample, another seed another one', () => {
  const sample = sampleOf(mutations, 3, 'one');
  expect(new Set(sample).size).toBe(3);
  expect(sampleOf(mutations, 3, 'one')).toEqual(sample);
  expect(sampleOf(mutations, 3, 'two')).not.toEqual(sample);
});

it('every file that Stryker mutates has tests, and they exist', () => {
  for (const dir of ['lib', 'functions']) {
    const files = readdirSync(path.join(ROOT, dir), { recursive: true, encoding: 'utf8' });
    for (const file of files.filter((name) => name.endsWith('.ts'))) {
      const tests = testsOf(path.join(dir, file));
      expect(tests.length).toBeGreaterThan(0);
      expect(tests.filter((test) => !existsSync(path.join(ROOT, test)))).toEqual([]);
    }
  }
});
