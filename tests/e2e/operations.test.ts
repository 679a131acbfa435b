import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expectLike, startShell, stepsOf } from '../support/document.ts';
import { cloneProject, type Program, startStack } from '../support/stack.ts';

/** Runs docs/operations.md: all `sh` blocks in one shell; each output must match the `text` block that follows. */
const steps = stepsOf('operations.md');

const clone = cloneProject();
let stack: Program;
let before: string[];
let shell: ReturnType<typeof startShell>;

beforeAll(async () => {
  ({ stack } = await startStack(clone.dir));
  before = readdirSync(clone.dir);
  shell = startShell(clone.dir);
});
afterAll(async () => {
  shell.stop();
  await stack.end('SIGINT');
  clone.remove();
});

it.each(steps)('docs/operations.md: $title', async ({ commands, expected }) => {
  const output = await shell.run(commands);
  if (expected !== undefined) expectLike(output, expected);
});

it('docs/operations.md leaves no file in the repository', () => {
  expect(readdirSync(clone.dir)).toEqual(before);
});
