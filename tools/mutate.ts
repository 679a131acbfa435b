/**
 * Mutation tests. Stryker mutates TypeScript; tests/mutations/ lists what it cannot mutate: SQL, YAML, and programs that run
 * in other processes. Each entry is a mistake that a person could make, with the tests that must notice it.
 *
 *     npm run mutate -- list               all entries
 *     npm run mutate -- sample 10 [SEED]   a sample; the same seed selects the same entries
 *     npm run mutate -- FILE …             the entries of source files, or of files in tests/mutations
 *     npm run mutate -- stryker FILE …     Stryker, on files or folders of lib and functions
 *
 * `--tested`: the tests have passed just now, so they are not tried without a mistake first.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { runStryker } from './stryker.ts';
import { runProgram, UserError } from './user-error.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LISTS = path.join('tests', 'mutations');
/** Not copied: the copy gets a link to node_modules, and nothing of a running stack. */
const NOT_COPIED = new Set(['node_modules', '.git', '.berth', '.serverless', '.esbuild', '.stryker', 'coverage']);
/** Mutations that are tried simultaneously, each in a copy of its own. */
const COPIES = 2;

export type Mutation = {
  /** The file to change, from the root. */
  file: string;
  /** Occurs exactly once in the file. */
  search: string;
  replace: string;
  /** Test files. At least one of their tests must fail. */
  tests: string[];
  /** What goes wrong with this mistake. */
  why: string;
};
type Listed = Mutation & { list: string };
type Outcome = { result: 'killed' | 'survived' | 'broken'; detail: string };

/** Every mutation of tests/mutations, with the name of its list. */
export function readMutations(): Listed[] {
  const lists = readdirSync(path.join(ROOT, LISTS)).filter((name) => name.endsWith('.json'));
  return lists.sort().flatMap((name) => {
    const mutations: Mutation[] = JSON.parse(readFileSync(path.join(ROOT, LISTS, name), 'utf8'));
    return mutations.map((mutation) => ({ ...mutation, list: path.join(LISTS, name) }));
  });
}

/** The file's text with the mistake. @throws UserError when `search` does not occur exactly once */
export function mutated(text: string, { file, search, replace }: Mutation): string {
  const [before, after, ...more] = text.split(search);
  if (after === undefined || more.length > 0) {
    throw new UserError(
      `${file} must contain this exactly once, and has it ${text.split(search).length - 1} times: ${search}`,
    );
  }
  return before + replace + after;
}

/** `size` of the mutations, selected by the seed. */
export function sampleOf<T extends Mutation>(all: T[], size: number, seed: string): T[] {
  const rank = (one: Mutation) =>
    createHash('sha256').update(`${seed}\n${one.file}\n${one.search}\n${one.replace}`).digest('hex');
  return [...all].sort((a, b) => (rank(a) < rank(b) ? -1 : 1)).slice(0, size);
}

function selected([what, ...more]: string[]): Listed[] {
  const all = readMutations();
  if (what === 'list') return all;
  if (what === 'sample') {
    const [size, seed = String(Date.now())] = more;
    console.log(`seed ${seed}`);
    return sampleOf(all, Number(size ?? 10), seed);
  }
  const files = [what, ...more];
  const found = all.filter(({ file, list }) => files.includes(file) || files.includes(list));
  if (found.length === 0)
    throw new UserError('Usage: npm run mutate -- list | sample SIZE [SEED] | FILE … | stryker FILE …');
  return found;
}

/** Runs the tests in the copy. `broken`: they could not run, which proves nothing. */
async function runTests(copy: string, files: string[]): Promise<Outcome> {
  const report = path.join(copy, 'report.json');
  rmSync(report, { force: true });
  const vitest = path.join(copy, 'node_modules', 'vitest', 'vitest.mjs');
  const args = [vitest, 'run', '--bail=1', '--reporter=json', `--outputFile=${report}`, ...files];
  const run = spawn(process.execPath, args, { cwd: copy, stdio: ['ignore', 'ignore', 'pipe'] });
  const [stderr, [status]] = await Promise.all([text(run.stderr), once(run, 'close')]);
  if (status === 0) return { result: 'survived', detail: '' };
  if (!existsSync(report)) return { result: 'broken', detail: stderr.trim().slice(-500) };
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    testResults: { message: string; assertionResults: { status: string; fullName: string }[] }[];
  };
  const failed = testResults.flatMap((file) => file.assertionResults).find((test) => test.status === 'failed');
  if (failed) return { result: 'killed', detail: failed.fullName };
  return {
    result: 'broken',
    detail: testResults
      .map(({ message }) => message)
      .join('\n')
      .trim(),
  };
}

/** Makes the mistake in the copy, runs the tests that must notice it, and takes it back. */
async function tryMutation(copy: string, mutation: Listed): Promise<Outcome> {
  const file = path.join(copy, mutation.file);
  const before = readFileSync(file, 'utf8');
  writeFileSync(file, mutated(before, mutation));
  const outcome = await runTests(copy, mutation.tests);
  writeFileSync(file, before);
  return outcome;
}

function makeCopy(): string {
  const copy = mkdtempSync(path.join(tmpdir(), 'berth-mutate-'));
  cpSync(ROOT, copy, { recursive: true, filter: (from) => !NOT_COPIED.has(path.relative(ROOT, from)) });
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
  return copy;
}

async function main(args: string[]): Promise<number> {
  if (args[0] === 'stryker') return runStryker(args.slice(1));
  const mutations = selected(args.filter((arg) => arg !== '--tested'));
  const copies = Array.from({ length: COPIES }, makeCopy);
  try {
    if (!args.includes('--tested')) {
      const unchanged = await runTests(copies[0] as string, [...new Set(mutations.flatMap(({ tests }) => tests))]);
      if (unchanged.result !== 'survived')
        throw new UserError(`The tests fail without a mutation: ${unchanged.detail}`);
    }
    const count = { killed: 0, survived: 0, broken: 0 };
    const waiting = mutations.values();
    const work = async (copy: string) => {
      for (const mutation of waiting) {
        const { result, detail } = await tryMutation(copy, mutation);
        count[result]++;
        console.log(`${result.padEnd(8)} ${mutation.file}: ${mutation.why}${detail && `\n         ${detail}`}`);
      }
    };
    await Promise.all(copies.map(work));
    console.log(`${count.killed} of ${mutations.length} killed, ${count.survived} survived, ${count.broken} broken`);
    return count.killed === mutations.length ? 0 : 1;
  } finally {
    for (const copy of copies) rmSync(copy, { recursive: true, force: true });
  }
}

if (import.meta.main) await runProgram(() => main(process.argv.slice(2)));
