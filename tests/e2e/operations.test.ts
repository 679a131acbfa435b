import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expectExactly, startShell, stepsOf } from '../support/document.ts';
import { cloneProject, type Program, startStack } from '../support/stack.ts';

/** Runs docs/operations.md: all `sh` blocks in one shell; the whole output must match the `text` block that follows. */
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
  expectExactly(output, expected ?? '');
});

/** What differs in each run. Anything else is a result: the document must state it, or not mention it. */
const DIFFERS = [
  ...['id', 'key', 'uuid', 'version', 'password', 'expiresAt', 'expires_at', 'provisioned_by_key_id', 'next'],
  ...['broker', 'url', 'devices_per_second', 'seconds_left', 'counted_at'],
];

it('docs/operations.md leaves out no result', () => {
  const leftOut = steps.flatMap(({ expected = '' }) =>
    [...expected.matchAll(/"(\w+)":"?[^"[\]{},…]*…/g)].map(([, name]) => name),
  );
  expect(leftOut.filter((name) => !DIFFERS.includes(name as string))).toEqual([]);
});

it('docs/operations.md leaves no file in the repository', () => {
  expect(readdirSync(clone.dir)).toEqual(before);
});
